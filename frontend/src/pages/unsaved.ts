/** <form data-warn-unsaved>: what is typed into it is not lost by accident.
 *
 * Whoever sends another form of the page finds it here again, on the page that comes then. Whoever leaves the page is asked by
 * the browser first. The server writes data-unsaved on a form that holds something other than what is saved: one that it
 * refused, or one for another choice.
 */

const KEPT = "patchsorter.unsaved";
/** What is older belongs to a page that never came. */
const KEPT_MS = 60_000;

type Values = [name: string, value: string | boolean][];

interface Kept {
  readonly at: number;
  /** By the form's action. */
  readonly forms: readonly (readonly [action: string, values: Values])[];
}

export function guardUnsaved(): void {
  bringBack();
  let isSending = false;
  document.addEventListener("submit", (event) => {
    if (event.defaultPrevented || !(event.target instanceof HTMLFormElement)) return;
    const others = [...forms()].filter((form) => form !== event.target && isUnsaved(form));
    const kept: Kept = { at: Date.now(), forms: others.map((form) => [form.action, valuesOf(form)]) };
    // Asked about instead: without storage, and where the page that comes may have other fields in such a form.
    isSending = others.length === 0 || (others.every((form) => !isAnother(form)) && store(kept));
  });
  window.addEventListener("beforeunload", (event) => {
    if (!isSending && [...forms()].some(isUnsaved)) event.preventDefault();
    isSending = false; // whoever stays may leave by another way
  });
}

const forms = () => document.querySelectorAll<HTMLFormElement>("form[data-warn-unsaved]");

function store(kept: Kept): boolean {
  try {
    sessionStorage.setItem(KEPT, JSON.stringify(kept));
    return true;
  } catch {
    return false;
  }
}

function bringBack(): void {
  let kept: Kept | null = null;
  try {
    kept = JSON.parse(sessionStorage.getItem(KEPT) ?? "null") as Kept | null;
    sessionStorage.removeItem(KEPT);
  } catch {
    return;
  }
  if (kept === null || Date.now() - kept.at > KEPT_MS) return;
  for (const [action, values] of kept.forms) {
    const form = [...forms()].find((candidate) => candidate.action === action);
    for (const [name, value] of form === undefined ? [] : values) {
      const control = form!.elements.namedItem(name);
      if (control instanceof HTMLInputElement && typeof value === "boolean") control.checked = value;
      else if (isField(control) && typeof value === "string") control.value = value;
    }
  }
}

type Field = HTMLInputElement | HTMLSelectElement | HTMLTextAreaElement;

const isField = (control: unknown): control is Field =>
  control instanceof HTMLSelectElement ||
  control instanceof HTMLTextAreaElement ||
  (control instanceof HTMLInputElement && control.type !== "hidden");

const fieldsOf = (form: HTMLFormElement): Field[] => [...form.elements].filter(isField);

const isTicked = (field: Field): field is HTMLInputElement =>
  field instanceof HTMLInputElement && (field.type === "checkbox" || field.type === "radio");

const valuesOf = (form: HTMLFormElement): Values =>
  fieldsOf(form).map((field) => [field.name, isTicked(field) ? field.checked : field.value]);

function isUnsaved(form: HTMLFormElement): boolean {
  const isChanged = (field: Field): boolean => {
    if (field instanceof HTMLSelectElement) {
      const options = [...field.options];
      return (options.find((option) => option.defaultSelected) ?? options[0])?.selected === false;
    }
    return isTicked(field) ? field.checked !== field.defaultChecked : field.value !== field.defaultValue;
  };
  return isAnother(form) || fieldsOf(form).some(isChanged);
}

const isAnother = (form: HTMLFormElement): boolean => form.dataset["unsaved"] !== undefined;
