/** A list of listeners. Stores change their own fields and then say so; listeners read the store. */
export class Emitter<Topic extends string> {
  private readonly listeners = new Map<Topic, Set<() => void>>();

  /** Returns the function that ends the subscription. */
  on(topic: Topic | readonly Topic[], listener: () => void): () => void {
    const topics = typeof topic === "string" ? [topic] : topic;
    for (const name of topics) {
      let set = this.listeners.get(name);
      if (set === undefined) {
        set = new Set();
        this.listeners.set(name, set);
      }
      set.add(listener);
    }
    return () => {
      for (const name of topics) this.listeners.get(name)?.delete(listener);
    };
  }

  protected emit(topic: Topic): void {
    for (const listener of [...(this.listeners.get(topic) ?? [])]) listener();
  }
}
