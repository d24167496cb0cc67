/** <form data-warn-unsaved>: whoever leaves the page, also by sending another form on it, is asked by the browser first where
 * something in this one was changed, or came back refused, and is not saved. */
export function warnOfUnsaved(): void {
  let sent: EventTarget | null = null;
  document.addEventListener("submit", (event) => {
    sent = event.target;
  });
  window.addEventListener("beforeunload", (event) => {
    const forms = document.querySelectorAll<HTMLFormElement>("form[data-warn-unsaved]");
    if ([...forms].some((form) => form !== sent && isUnsaved(form))) event.preventDefault();
    sent = null; // whoever stays may send another one
  });
}

function isUnsaved(form: HTMLFormElement): boolean {
  const isChanged = (control: Element): boolean => {
    if (control instanceof HTMLSelectElement) {
      const options = [...control.options];
      const chosen = options.filter((option) => option.defaultSelected);
      return (chosen[0] ?? options[0])?.selected === false;
    }
    if (control instanceof HTMLTextAreaElement) return control.value !== control.defaultValue;
    if (!(control instanceof HTMLInputElement) || control.type === "hidden") return false;
    return control.type === "checkbox"
      ? control.checked !== control.defaultChecked
      : control.value !== control.defaultValue;
  };
  return form.querySelector(".form-field--error") !== null || [...form.elements].some(isChanged);
}
