// The page works without a mouse: keys set statuses and move; every step is sent at once, and shown as kept only when
// the server has it on disk.
"use strict";

const csrf = document.querySelector('meta[name="csrf"]').content;
const one = (selector, within = document) => within.querySelector(selector);
const every = (selector, within = document) => [...within.querySelectorAll(selector)];
const STATUS_KEYS = { 1: "present", p: "present", 2: "absent", a: "absent", 3: "uncertain", u: "uncertain", 4: "unmentioned", x: "unmentioned" };
let shownAt = performance.now();
let generation = null;
let moving = false;
let sending = Promise.resolve();

function say(text, stay = false) {
  const said = one("#said");
  said.textContent = text;
  clearTimeout(say.timer);
  if (text && !stay) say.timer = setTimeout(() => { said.textContent = ""; }, 4000);
}

async function post(address, body) {
  const response = await fetch(address, {
    method: "POST", headers: { "Content-Type": "application/json", "X-Teachback-CSRF": csrf }, body: JSON.stringify(body),
  });
  if (response.headers.get("Content-Type")?.startsWith("application/json")) {
    const told = await response.json();
    if (!response.ok) throw new Error(told.error);
    return told;
  }
  if (!response.ok) throw new Error(await response.text());
  return response;
}

// Theme and reviewer

const root = document.documentElement;
const kept = (() => { try { return localStorage.getItem("theme"); } catch { return null; } })();
if (kept) root.dataset.theme = kept;
one("#theme").addEventListener("click", () => {
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  try { localStorage.setItem("theme", root.dataset.theme); } catch { /* not kept, then */ }
});

function askName() {
  const dialog = one("#name-dialog");
  return new Promise((resolve) => {
    dialog.onclose = async () => {
      const name = one("input", dialog).value.trim();
      if (!name) return resolve(false);
      try {
        await post("/reviewer", { name });
        document.body.dataset.reviewer = name;
        one("#who").textContent = name;
        resolve(true);
      } catch (error) { say(error.message, true); resolve(false); }
    };
    dialog.showModal();
    one("input", dialog).select();
  });
}
one("#who").addEventListener("click", async () => { if (await askName()) location.reload(); });

// The report at hand

const review = () => one("#review");
const focused = () => one(".target.focus");

function address(item, part) {
  const query = filters();
  query.set("report", item.report_id); query.set("task", item.task); query.set("target", item.target);
  query.set("reason", item.why ?? ""); query.set("place", item.place ?? -1);
  if (part) query.set("part", "1");
  return `/review?${query}`;
}

function filters() {
  const form = one("#filters");
  const query = new URLSearchParams();
  if (form) for (const [name, value] of new FormData(form)) if (value) query.set(name, value);
  return query;
}

function focus(target, scroll = true) {
  if (!target) return;
  every(".target.focus").forEach((other) => other.classList.remove("focus"));
  target.classList.add("focus");
  target.focus({ preventScroll: true });
  if (scroll) target.scrollIntoView({ block: "nearest" });
  shownAt = performance.now();
  light(target.dataset.target);
}

function light(name) {
  let last = null;
  for (const mark of every("mark[data-by]")) {
    const who = JSON.parse(mark.dataset.by)[name];
    mark.classList.toggle("on", Boolean(who));
    delete mark.dataset.who;
    if (!who) continue;
    // Of neighbouring pieces with the same evidence only the last one names it.
    if (last && last.nextSibling === mark && last.dataset.who === who) delete last.dataset.who;
    mark.dataset.who = who;
    mark.title = `${name}: ${who}`;
    last = mark;
  }
}

function move(step) {
  const targets = every(".target");
  focus(targets[targets.indexOf(focused()) + step]);
}

async function show(item) {
  const response = await fetch(address(item, true));
  if (!response.ok) { say(`The server answers ${response.status}: is it still running?`, true); return; }
  one("#main").innerHTML = await response.text();
  history.pushState(null, "", address(item));
  document.title = review() ? `${item.target}, ${item.report_id}` : "Review";
  ready();
}

async function go(to) {
  if (moving) return;
  moving = true;
  try {
    await sending;
    const here = review()?.dataset ?? {};
    const query = filters();
    // Whatever was decided besides: the place in the queue is that of the target that came up.
    query.set("report", here.report ?? ""); query.set("task", here.task ?? ""); query.set("target", here.target ?? "");
    query.set("reason", here.why ?? ""); query.set("place", here.place ?? -1); query.set("to", to);
    const item = await (await fetch(`/next?${query}`)).json();
    if (!item.done) { await show(item); return; }
    if (to === "before") { say("This is the first."); return; }
    one("#main").innerHTML = await (await fetch(`/review?${filters()}&part=1`)).text();
    ready();
  } catch (error) { say(`${error.message}: is the server still running?`, true); } finally { moving = false; }
}

function count(progress) {
  const parts = [`${progress.today} today`, `${progress.mine} of yours`];
  if (progress.seconds !== null) parts.push(`${Math.round(progress.seconds)} s each`);
  if (progress.undelivered) parts.push(`${progress.undelivered} on their way`);
  one("#progress").textContent = parts.join(", ");
  one("#progress").title = `${progress.all} of all reviewers`;
}

function body(target, more) {
  const here = review().dataset;
  const same = here.task === target.dataset.task && here.target === target.dataset.target;
  const seconds = (performance.now() - shownAt) / 1000;
  return { report_id: here.report, task: target.dataset.task, target: target.dataset.target, why: same ? here.why : null, plan_id: same ? here.plan : null, seconds, ...more };
}

async function send(target, more, told) {
  if (!document.body.dataset.reviewer && !(await askName())) return false;
  const line = one(".kept.mine", target);
  line.classList.add("waiting");
  line.textContent = "…";
  const step = body(target, more);
  shownAt = performance.now();
  const sent = sending.then(() => post("/decide", step));
  sending = sent.catch(() => {});
  try {
    const answer = await sent;
    line.classList.remove("waiting");
    line.textContent = `${told}, ${answer.reviewer}`;
    count(answer.progress);
    every('[data-key="z"]').forEach((button) => { button.disabled = false; });
    return true;
  } catch (error) {
    line.textContent = "not kept";
    say(`Not kept: ${error.message}`, true);
    return false;
  }
}

async function set(target, status, accepts = null) {
  if (!target) return false;
  const kept = await send(target, { action: "set", status, accepts }, `kept: ${status}`);
  if (kept) {
    target.dataset.set = status;
    every(".choice button", target).forEach((button) => button.setAttribute("aria-pressed", button.dataset.status === status));
  }
  return kept;
}

async function decide(status, accepts = null) {
  const target = focused();
  const here = review().dataset;
  const own = target && here.task === target.dataset.task && here.target === target.dataset.target;
  if (!(await set(target, status, accepts))) return;
  if (document.body.dataset.blind === "1") { await reveal(target); return; }
  if (own) await go("next"); else move(1);
}

async function reveal(target) {
  // Blind: what was hidden is shown once it is decided, and the reviewer goes on by `n`.
  const here = review().dataset;
  await show({ report_id: here.report, task: target.dataset.task, target: target.dataset.target, why: here.why, place: here.place });
}

async function accept() {
  const target = focused();
  if (!target) return;
  if (!target.dataset.teacher) { say("The teacher says nothing of it: set a status."); return; }
  await decide(target.dataset.teacher, target.dataset.label);
}

async function acceptRest() {
  if (document.body.dataset.blind === "1") return;
  const left = every(".target").filter((target) => target.dataset.teacher && !target.dataset.set);
  for (const target of left) if (!(await set(target, target.dataset.teacher, target.dataset.label))) return;
  say(`${left.length} accepted.`);
  await go("next");
}

async function undo() {
  await sending;
  try {
    const step = await post("/undo", {});
    count(step.progress);
    say(`Taken back: ${step.target ?? "note"}, ${step.report_id}`);
    await show({ report_id: step.report_id, task: step.task ?? "findings", target: step.target ?? "", why: step.why ?? "", place: review()?.dataset.place });
  } catch (error) { say(error.message); }
}

async function note() {
  const target = focused();
  if (!target) return;
  const dialog = one("#note-dialog");
  one("#note-target").textContent = target.dataset.target;
  one("textarea", dialog).value = "";
  dialog.onclose = async () => {
    const text = one("textarea", dialog).value.trim();
    if (dialog.returnValue !== "ok" || !text) return;
    if (await send(target, { action: "note", note: text }, "note kept")) {
      const line = document.createElement("p");
      line.className = "note";
      line.textContent = `${document.body.dataset.reviewer}: ${text}`;
      one(".kept.mine", target).before(line);
    }
  };
  dialog.showModal();
}

async function skip() {
  const target = focused();
  if (target && await send(target, { action: "skip" }, "skipped")) await go("next");
}

const KEYS = {
  j: () => move(1), ArrowDown: () => move(1), k: () => move(-1), ArrowUp: () => move(-1),
  n: () => go("next"), ArrowRight: () => go("next"), b: () => go("before"), ArrowLeft: () => go("before"),
  Enter: accept, A: acceptRest, s: skip, z: undo, m: note, "?": () => one("#help").showModal(),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || one("dialog[open]")) return;
  if (event.target.closest("input, select, textarea")) return;
  if (event.key === "?") { event.preventDefault(); KEYS["?"](); return; }
  if (!review()) return;
  // A button that has the focus keeps Enter and the blank to itself.
  if (event.key === "Enter" && event.target.closest("button, a")) return;
  const status = STATUS_KEYS[event.key];
  const act = status ? () => decide(status) : KEYS[event.key];
  if (!act) return;
  event.preventDefault();
  act();
});

document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button?.id === "keys") { KEYS["?"](); return; }
  if (button?.dataset.key) { KEYS[button.dataset.key](); return; }
  const target = event.target.closest(".target");
  if (!target) return;
  if (target !== focused()) focus(target, false);
  if (button?.dataset.status) decide(button.dataset.status);
});

document.addEventListener("change", (event) => {
  if (event.target.closest("#filters")) location.assign(`/review?${filters()}`);
  if (event.target.id === "example" && event.target.value) one("#query").value = event.target.value;
});

// The SQL page

async function askSql(form) {
  const answer = one("#answer");
  const query = one("#query").value;
  answer.textContent = "…";
  try {
    const response = await post("/sql/ask", { query, format: form });
    if (form === "table") { answer.innerHTML = await response.text(); return; }
    const link = document.createElement("a");
    link.href = URL.createObjectURL(await response.blob());
    link.download = `answer.${form}`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
    answer.textContent = `${link.download} is written.`;
  } catch (error) { answer.textContent = error.message; }
}
one("#sql")?.addEventListener("submit", (event) => { event.preventDefault(); askSql(event.submitter?.value ?? "table"); });
if (one("#sql") && new URLSearchParams(location.search).get("q")) askSql("table");
one("#query")?.addEventListener("keydown", (event) => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); askSql("table"); } });

// What changes while one reads

async function look() {
  try {
    const state = await (await fetch(`/state?${filters()}`)).json();
    one("#age").textContent = state.age;
    count(state.progress);
    generation = state.generation;
  } catch { one("#age").textContent = "unknown: the server does not answer"; }
}
setInterval(look, 3000);
addEventListener("popstate", () => location.reload());

function ready() {
  if (!review()) return;
  const target = focused() ?? one(".target");
  focus(target, false);
  target.scrollIntoView({ block: "center" });
  if (matchMedia("(max-width: 860px)").matches) scrollTo(0, 0);
  if (!document.body.dataset.reviewer && !one("dialog[open]")) askName();
}
ready();
