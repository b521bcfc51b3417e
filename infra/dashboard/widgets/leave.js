// Enter in a field ends the typing there: the keys that answer are the page's again. Streamlit has heard of it first.
export default function ({ data, parentElement }) {
  const leave = (event) => {
    const field = event.composedPath()[0];
    if (event.key !== "Enter" || event.isComposing || field.getAttribute?.("aria-label") !== data.label) return;
    setTimeout(() => field.blur());
  };
  document.removeEventListener("keydown", parentElement.leave);
  document.addEventListener("keydown", (parentElement.leave = leave));
  return () => document.removeEventListener("keydown", leave);
}
