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
  grid.onkeydown = (event) => {
    const at = cards.indexOf(event.target);
    const columns = getComputedStyle(grid).gridTemplateColumns.split(" ").length;
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns }[event.key];
    if (at < 0 || step === undefined || cards[at + step] === undefined) return;
    event.preventDefault();
    cards[at + step].focus();
  };
}
