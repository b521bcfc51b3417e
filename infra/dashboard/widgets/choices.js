// Variants of one picture, of which a few may be picked; arrow keys go from one to the next, Enter and Space pick.
// Picks that are not saved wait, in this window, for whoever comes back to the item: its name is one person's.
export default function ({ data, parentElement, setTriggerValue }) {
  const grid = parentElement.querySelector(".grid");
  const source = parentElement.querySelector(".source img");
  const waiting = (window.ieiwWaitingPicks ??= new Map());
  const [save, none, said] = ["save", "none", "said"].map((name) => parentElement.querySelector(`.${name}`));
  if (grid.shownFor !== data.item) {
    grid.shownFor = data.item;
    grid.picked = [...(waiting.get(data.item) ?? data.chosen)];
  }
  source.src = data.source;
  const show = () => {
    cards.forEach((card, place) => {
      const at = grid.picked.indexOf(data.variants[place].id);
      card.setAttribute("aria-pressed", at >= 0);
    });
    save.disabled = grid.picked.length === 0;
    save.textContent = grid.picked.length < 2 ? "Save this choice" : `Save these ${grid.picked.length}`;
    const isSaved = grid.picked.length === data.chosen.length && grid.picked.every((id) => data.chosen.includes(id));
    if (isSaved) waiting.delete(data.item);
    else waiting.set(data.item, [...grid.picked]);
    const rule = `Up to ${data.most}: one more takes the place of the first.`;
    const earlier = " Answered before: saving takes the earlier answer's place, which is kept.";
    said.textContent = (isSaved ? "" : "Not saved yet. ") + rule + (data.answered ? earlier : "");
  };
  const cards = data.variants.map((variant, place) => {
    const card = document.createElement("button");
    card.type = "button";
    card.className = "variant";
    card.setAttribute("aria-label", `variant ${place + 1}`);
    card.style.aspectRatio = data.aspect;
    const image = new Image();
    image.src = variant.source;
    image.alt = "";
    card.append(image);
    card.onclick = () => {
      const at = grid.picked.indexOf(variant.id);
      if (at >= 0) grid.picked.splice(at, 1);
      else grid.picked.push(variant.id);
      if (grid.picked.length > data.most) grid.picked.shift();
      show();
    };
    return card;
  });
  grid.replaceChildren(...cards);
  moveByArrows(grid, cards);
  const answer = (picked) => {
    waiting.delete(data.item);
    setTriggerValue("answer", picked);
  };
  save.onclick = () => answer([...grid.picked]);
  none.onclick = () => answer([]);
  show();
}
