import { Emitter } from "../../state/emitter";

/** Which object is looked at, of those that are to be: forward with each label, back with each undo. */
export class Run extends Emitter<"place"> {
  private at = 0;

  constructor(
    private readonly ordinals: readonly number[],
    /** Labeled in earlier sittings. */
    private readonly before: number,
  ) {
    super();
  }

  get ordinal(): number | null {
    return this.ordinals[this.at] ?? null;
  }

  /** What comes soon, to be fetched before. */
  next(n: number): readonly number[] {
    return this.ordinals.slice(this.at + 1, this.at + 1 + n);
  }

  get nDone(): number {
    return this.before + this.at;
  }

  /** Whether there is one to go back to: of this sitting. */
  get hasPrevious(): boolean {
    return this.at > 0;
  }

  forward(): void {
    if (this.at < this.ordinals.length) this.move(1);
  }

  back(): void {
    if (this.at > 0) this.move(-1);
  }

  /** To this object, whose label was not taken. */
  returnTo(ordinal: number): void {
    const at = this.ordinals.indexOf(ordinal);
    if (at >= 0) this.move(at - this.at);
  }

  private move(by: number): void {
    this.at += by;
    this.emit("place");
  }
}
