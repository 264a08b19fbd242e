// One sample at a time: its parts are judged, each verdict is on its way at once, and the next one opens.

import {get, post, Outbox} from "./outbox.js";
import {panelOf} from "./parts.js";
import {listen, SHORTCUTS} from "./keys.js";
import {Viewer} from "./viewer.js";

const $ = id => document.getElementById(id);
const TOOLS = [...document.querySelectorAll("[data-tool]")];
const PAUSE = 700;  // milliseconds without a change after which an edit is saved

const state = {session: null, names: [], done: [], sample: null, parts: {}, current: null, edits: new Map()};
let outbox, viewer;

async function start() {
  try {
    state.session = await get("/api/session");
  } catch (error) {
    return tell("closed", 0, error.message);
  }
  const {session} = state;
  $("dataset").textContent = session.dataset;
  $("reviewer").textContent = session.role === "reader" ? session.reviewer : `${session.reviewer}, adjudicator`;
  $("notice").textContent = session.notice;
  outbox = new Outbox(`${session.digest} ${session.reviewer}`, {tell, refuse, confirm});
  await outbox.sending;  // what an earlier page had not sent
  viewer = new Viewer($("stage"), {changed: maskChanged, moved: showPlace});
  await viewer.start();
  help();
  connect();
  await count();
  const {sample} = await get("/api/next");
  if (sample) await open(sample);
  else if (state.names.length) await open(state.names[0]);
  else nothing();
}

async function count() {
  const {samples, done} = await get("/api/queue");
  [state.names, state.done] = [samples, done];
  const read = done.filter(Boolean).length;
  $("bar").max = Math.max(samples.length, 1);
  $("bar").value = read;
  $("count").textContent = `${read} of ${samples.length} done`;
}

function nothing() {
  $("category").textContent = "Nothing to judge";
  $("facts").textContent = state.session.role === "reader" ? "The data set has no samples." : "No reading is disputed.";
  tell("saved", 0);
}

async function open(id) {
  flushEdits();
  const sample = await get("/api/sample", {id});
  state.sample = sample;
  state.edits.clear();
  state.commented = null;
  $("category").textContent = sample.category || "Unnamed target";
  const size = `${sample.columns} × ${sample.rows} pixels`;
  const spacing = sample.spacing && `${sample.spacing.map(mm => mm.toFixed(2)).join(" × ")} mm`;
  $("facts").textContent = [sample.supercategory, sample.modality, size, spacing].filter(Boolean).join(" · ");
  $("identifier").textContent = sample.id;
  $("absent").hidden = sample.present;
  state.parts = {};
  $("parts").replaceChildren(...Object.keys(sample.parts).map(field => {
    const part = panelOf(field, sample, {
      judge, comment, edit, take, focus, look: ({runs}) => viewer.setMask(runs || sample.parts.mask.runs),
    });
    state.parts[field] = part;
    return part.element;
  }));
  await viewer.open(`/api/picture?id=${encodeURIComponent(id)}`, sample.rows, sample.columns, shownMask());
  viewer.setOpacity(Number($("opacity").value));
  viewer.setBrush(Number($("size").value));
  pick("pan");
  focus(Object.keys(state.parts).find(field => judgeable(field) && !sample.verdicts[field]) || "question");
  document.body.dataset.open = id;
  if (outbox.items.length === 0) tell("saved", 0);
}

const shownMask = () => state.sample.verdicts.mask?.runs || state.sample.parts.mask.runs;
const judgeable = field => !state.sample.disputed || state.sample.disputed.includes(field) || field in state.sample.verdicts;
const open_ = () => Object.keys(state.parts).filter(field => judgeable(field) && !state.sample.verdicts[field]);

// ---- verdicts

function judge(field, verdict, changed = {}) {
  if (!judgeable(field)) return;
  if (verdict === "edit" && !("text" in changed) && !("runs" in changed)) return beginEdit(field);
  clearTimeout(state.edits.get(field)?.timer);
  state.edits.delete(field);
  const said = {verdict, comment: state.parts[field].comment(), ...changed};
  state.sample.verdicts[field] = said;
  state.parts[field].show(said);
  if (field === "mask" && verdict !== "edit") viewer.setMask(shownMask());
  outbox.add({sample: state.sample.id, field, ...said});
}

// By keyboard, the next part that is open comes up, so that a key pressed twice never overrules what was said.
function settle(field, verdict) {
  judge(field, verdict);
  state.commented = field;
  focus(open_()[0] || field);
}

function beginEdit(field) {
  focus(field);
  if (field === "mask") return pick("brush");
  state.parts[field].write();
}

// A text or a mask that changes is an edit; it is saved when the hand rests.
function edit(field, changed) {
  clearTimeout(state.edits.get(field)?.timer);
  const save = () => judge(field, "edit", changed());
  state.edits.set(field, {save, timer: setTimeout(save, PAUSE)});
  tell("pending", 0);
}

function flushEdits() {
  for (const {save, timer} of [...state.edits.values()]) {
    clearTimeout(timer);
    save();
  }
}

function maskChanged() {
  focus("mask");
  edit("mask", () => ({runs: viewer.runs()}));
}

function comment(field) {
  const said = state.sample.verdicts[field];
  if (said) judge(field, said.verdict, said.verdict === "edit" ? (field === "mask" ? {runs: said.runs} : {text: said.text}) : {});
}

function take(field, reading) {
  const {verdict, text, runs} = reading;
  judge(field, verdict, verdict === "edit" ? (field === "mask" ? {runs} : {text}) : {});
  if (field === "mask" && runs) viewer.setMask(runs);
}

async function undo() {
  flushEdits();
  await outbox.flush();
  const {sample, field, verdict} = await post("/api/undo", {}, {client: crypto.randomUUID()});
  if (!sample) return;
  await count();
  await open(sample);
  focus(field);
  $("saved").textContent = `${field}: ${verdict === "withdraw" ? "verdict taken back" : verdict}`;
}

// ---- going through

async function next() {
  flushEdits();
  await outbox.flush();
  if (state.edits.size) return;
  const {sample} = await get("/api/next", {after: state.sample?.id});
  await count();
  if (sample) await open(sample);
  else $("saved").textContent = "All saved; there is nothing left for you to judge";
}

async function previous() {
  const at = state.names.indexOf(state.sample?.id);
  if (at > 0) await open(state.names[at - 1]);
}

async function acceptRest() {
  for (const field of open_()) judge(field, "accept");
  await next();
}

function focus(field) {
  state.current = field;
  for (const [name, part] of Object.entries(state.parts)) part.element.classList.toggle("current", name === field);
}

// ---- what the outbox says

function tell(kind, waiting, message = "") {
  const words = {
    saved: "All saved", saving: "Saving…", pending: "Editing…",
    offline: `The server does not answer; ${waiting} verdict(s) kept in this browser until it does`,
    closed: message || "Session ended: open the new address; what is not saved is kept in this browser",
  };
  const saved = $("saved");
  saved.textContent = words[kind];
  saved.className = `saved ${{offline: "lost", closed: "lost", pending: "pending"}[kind] || ""}`;
}

function refuse(item, message) {
  const part = item.sample === state.sample?.id && state.parts[item.field];
  if (part) {
    delete state.sample.verdicts[item.field];
    part.show(null, message);
  } else {
    tell("closed", 0, `Not saved, sample ${item.sample}: ${message}`);
  }
}

function confirm(item) {
  const at = state.names.indexOf(item.sample);
  if (at < 0 || item.sample !== state.sample?.id || state.done[at] || open_().length) return;
  state.done[at] = true;
  $("bar").value += 1;
  $("count").textContent = `${$("bar").value} of ${state.names.length} done`;
}

// ---- controls

function pick(tool) {
  viewer.setTool(tool);
  for (const button of TOOLS) button.setAttribute("aria-pressed", String(button.dataset.tool === tool));
  $("box-actions").hidden = tool !== "box";
}

function showPlace() {
  $("zoom").textContent = `${Math.round(viewer.zoom * 100)} %`;
  $("level").value = viewer.level;
  $("width").value = viewer.width;
}

function slide(id, by) {
  const input = $(id);
  input.value = Number(input.value) + by;
  input.dispatchEvent(new Event("input"));
}

async function segment() {
  if (!viewer.drawn) return;
  const {runs} = await post("/api/segment", {box: viewer.drawn}, {id: state.sample.id});
  viewer.setMask(runs, {undoable: true});
  maskChanged();
}

function connect() {
  for (const button of TOOLS) button.onclick = () => pick(button.dataset.tool);
  $("undo-stroke").onclick = () => viewer.undo();
  $("original").onclick = () => { viewer.setMask(state.sample.parts.mask.runs, {undoable: true}); maskChanged(); };
  $("segment").onclick = segment;
  $("crop").onclick = () => viewer.drawn && viewer.crop(viewer.drawn);
  $("fit").onclick = () => viewer.fit();
  $("opacity").oninput = () => viewer.setOpacity(Number($("opacity").value));
  $("size").oninput = () => viewer.setBrush(Number($("size").value));
  $("level").oninput = $("width").oninput = () => viewer.setWindow(Number($("level").value), Number($("width").value));
  $("next").onclick = next;
  $("previous").onclick = previous;
  $("undo").onclick = undo;
  $("help-button").onclick = () => $("help").showModal();
  addEventListener("beforeunload", flushEdits);
  let hidden = null;
  listen({
    accept: () => settle(state.current, "accept"), reject: () => settle(state.current, "reject"),
    edit: () => judge(state.current, "edit"),
    acceptRest, next, previous, undo, pick, focus: number => {
      state.commented = null;
      focus(Object.keys(state.parts)[number] || state.current);
    },
    comment: () => {
      focus(state.commented || state.current);
      state.parts[state.current].element.querySelector(".comment").focus();
    },
    undoStroke: () => viewer.undo(), fit: () => viewer.fit(), zoom: factor => viewer.zoomBy(factor),
    size: by => slide("size", by), opacity: by => slide("opacity", by), segment, crop: $("crop").onclick,
    nudge: (dx, dy, grow) => viewer.nudge(dx, dy, grow),
    hide: () => {
      [hidden, $("opacity").value] = hidden === null ? [$("opacity").value, 0] : [null, hidden];
      $("opacity").oninput();
    },
    help: () => $("help").showModal(),
  });
}

function help() {
  $("shortcuts").replaceChildren(...SHORTCUTS.flatMap(([keys, meaning]) => {
    const [term, text] = [document.createElement("dt"), document.createElement("dd")];
    term.replaceChildren(...keys.map(key => Object.assign(document.createElement("kbd"), {textContent: key})));
    text.textContent = meaning;
    return [term, text];
  }));
}

addEventListener("unhandledrejection", event => tell("closed", 0, event.reason?.message));
start();
