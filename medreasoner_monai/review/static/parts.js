// A part of a sample on the page: its words, what the readers said (for an adjudicator), and the three verdicts.

const WORDS = {accept: "accepted", edit: "edited", reject: "rejected"};
const NAMES = {question: "Question", mask: "Mask", trace: "Reasoning"};

export function panelOf(field, sample, {judge, comment, edit, take, look, focus}) {
  const element = document.getElementById("part").content.cloneNode(true).firstElementChild;
  const find = selector => element.querySelector(selector);
  const original = sample.parts[field].text ?? "";
  const [text, area, note, state, error] = ["p.text", "textarea", ".comment", ".state", ".error"].map(find);
  const buttons = [...element.querySelectorAll("[data-verdict]")];
  const judged = !sample.disputed || sample.disputed.includes(field) || field in sample.verdicts;

  const read = (sample.readings || []).every(reading => reading[field]);

  element.dataset.field = field;
  find("h3").textContent = NAMES[field];
  find(".verdicts").setAttribute("aria-label", `Verdict on the ${NAMES[field].toLowerCase()}`);
  area.setAttribute("aria-label", `${NAMES[field]}, corrected`);
  note.setAttribute("aria-label", `Comment on the ${NAMES[field].toLowerCase()}`);
  find(".verdicts").hidden = note.hidden = !judged;
  element.addEventListener("pointerdown", () => focus(field));
  element.addEventListener("focusin", () => focus(field));
  for (const button of buttons) button.onclick = () => judge(field, button.dataset.verdict);
  note.onchange = () => comment(field);
  area.oninput = () => edit(field, () => ({text: area.value}));

  (sample.readings || []).forEach((reading, number) => {
    const said = reading[field];
    if (said) find(".readings").append(readingOf(String.fromCharCode(65 + number), said, judged && {
      Take: () => take(field, said),
      ...(field === "mask" && said.verdict !== "reject" ? {Show: () => look(said)} : {}),
    }));
  });

  const describe = () => {
    if (field !== "mask") return original;
    return sample.present ? "The coloured region is the whole target, and nothing else." : "There is nothing to mark.";
  };
  const show = (said, message = "") => {
    for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset.verdict === said?.verdict));
    state.textContent = said ? WORDS[said.verdict] : judged ? "" : read ? "agreed" : "not read by all yet";
    state.className = `state ${said?.verdict || ""}`;
    error.textContent = message;
    if (!message) {
      area.hidden = field === "mask" || said?.verdict !== "edit";
      text.hidden = !area.hidden;
    }
    if (said?.text !== undefined && document.activeElement !== area) area.value = said.text;
  };
  text.textContent = describe();
  area.value = original;
  note.value = sample.verdicts[field]?.comment || "";
  show(sample.verdicts[field]);

  return {
    element,
    show,
    comment: () => note.value,
    write: () => {
      [area.hidden, text.hidden] = [false, true];
      area.focus();
    },
  };
}

function readingOf(letter, said, actions) {
  const element = document.createElement("div");
  element.className = "reading";
  const words = [`Reading ${letter}: ${WORDS[said.verdict]}`, said.text && `“${said.text}”`, said.comment].filter(Boolean);
  element.append(...words.map(word => Object.assign(document.createElement("p"), {textContent: word})));
  for (const [word, act] of Object.entries(actions || {})) {
    const button = Object.assign(document.createElement("button"), {type: "button", textContent: `${word} reading ${letter}`});
    button.onclick = act;
    element.append(button);
  }
  return element;
}
