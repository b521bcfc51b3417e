// Bars with a name before and numbers behind; a bar that can be picked is a button.
export default function ({ data, parentElement, setTriggerValue }) {
  const list = parentElement.querySelector(".bars");
  const total = Math.max(1, data.total);
  list.replaceChildren(
    ...data.items.map((item) => {
      const row = document.createElement(item.pick === null || item.pick === undefined ? "div" : "button");
      row.className = "row" + (item.chosen ? " chosen" : "");
      row.dataset.name = item.name;
      const name = document.createElement("span");
      name.className = "name";
      name.textContent = item.name;
      const track = document.createElement("span");
      track.className = "track";
      for (const part of item.parts) {
        const bar = document.createElement("span");
        bar.className = "part " + part.kind;
        bar.style.width = `max(${part.value > 0 ? 2 : 0}px, ${(100 * part.value) / total}%)`;
        if (part.at !== undefined) {
          bar.style.position = "absolute";
          bar.style.left = `${(100 * part.at) / total}%`;
        }
        bar.title = part.title ?? "";
        track.append(bar);
      }
      const number = document.createElement("span");
      number.className = "number";
      number.textContent = item.text;
      const note = document.createElement("span");
      note.className = "note";
      note.textContent = item.note ?? "";
      row.append(name, track, number, note);
      if (row.tagName === "BUTTON") {
        row.type = "button";
        row.onclick = () => setTriggerValue("pick", item.pick);
      }
      return row;
    }),
  );
}
