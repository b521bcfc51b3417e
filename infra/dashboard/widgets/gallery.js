// Cards of pairs: source and target side by side, words below; arrow keys go from card to card.
export default function ({ data, parentElement, setTriggerValue }) {
  const grid = parentElement.querySelector(".gallery");
  const cards = data.items.map((item) => {
    const card = document.createElement("button");
    card.type = "button";
    card.className = "card" + (item.chosen ? " chosen" : "");
    card.dataset.id = item.id;
    card.setAttribute("aria-label", item.label);
    const pictures = document.createElement("span");
    pictures.className = "pictures";
    for (const picture of item.pictures) {
      const frame = document.createElement("span");
      frame.className = "frame";
      if (picture.source) {
        const image = new Image();
        image.src = picture.source;
        image.alt = picture.name;
        image.decoding = "async";
        frame.append(image);
      } else {
        frame.classList.add("missing");
        frame.textContent = picture.name;
      }
      pictures.append(frame);
    }
    card.append(pictures);
    for (const [kind, text] of item.lines) {
      const line = document.createElement("span");
      line.className = kind;
      line.textContent = text;
      card.append(line);
    }
    card.onclick = () => setTriggerValue("open", item.id);
    return card;
  });
  grid.classList.toggle("wide", data.items.some((item) => item.pictures.length > 2));
  grid.replaceChildren(...cards);
  moveByArrows(grid, cards);
}
