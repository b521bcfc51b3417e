// A few key figures, each with its name and a note.
export default function ({ data, parentElement }) {
  parentElement.querySelector(".facts").replaceChildren(
    ...data.items.map((item) => {
      const tile = document.createElement("div");
      tile.className = "tile";
      for (const [kind, text] of Object.entries({ name: item.name, value: item.value, note: item.note ?? "" })) {
        const part = document.createElement("div");
        part.className = kind;
        part.textContent = text;
        tile.append(part);
      }
      return tile;
    }),
  );
}
