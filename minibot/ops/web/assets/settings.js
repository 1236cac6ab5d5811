"use strict";
// Settings of the next start: a form that collects changes, what is staged, and who changed what.
let settingsNow = null;
const pending = new Map();

function whenOf(ms) {
  return new Date(ms).toISOString().slice(0, 19).replace("T", " ");
}
function settingChosen() {
  return settingsNow.settings.find((each) => each.key === at("setting").value);
}
// The input that fits the chosen setting, with the value that holds at the next start.
function fitInput() {
  const chosen = settingChosen();
  if (!chosen) return;
  const isChoice = chosen.choices.length > 0;
  at("value-text").hidden = isChoice;
  at("value-choice").hidden = !isChoice;
  at("value-choice").replaceChildren(...chosen.choices.map((text) => new Option(text, text, false, text === chosen.next)));
  at("value-text").value = chosen.next;
  at("allowed").textContent = `${chosen.description} Allowed: ${chosen.allowed}.${chosen.why_not ? ` Not to be changed: ${chosen.why_not}.` : ""}`;
  at("add").disabled = Boolean(chosen.why_not);
}
function button(words, label, act) {
  const made = cell("button", words);
  made.type = "button";
  made.setAttribute("aria-label", label);
  made.addEventListener("click", act);
  const box = document.createElement("td");
  box.append(made);
  return box;
}
function showPending() {
  table("pending", [["setting", "text"], ["value", "text"], "leave out"], [...pending].map(([key, text]) =>
    [[key, "text"], [text, "text"], button("Leave out", `Leave out ${key}`, () => { pending.delete(key); showPending(); })]), "nothing added yet");
  at("stage").disabled = pending.size === 0;
}
function showSettings() {
  const now = settingsNow;
  at("settings-of").textContent = `Profile ${now.profile} of ${now.file}. What is staged holds from its next start on; the running night keeps its own values.`;
  at("violations").replaceChildren(...now.violations.map((each) => cell("li", `The next start would be refused: ${each}`)));
  const chosen = at("setting").value;
  at("setting").replaceChildren(...now.settings.map((each) => new Option(each.key, each.key, false, each.key === chosen)));
  table("staged", [["setting", "text"], ["file", "text"], ["next start", "text"], "take back"], now.settings.filter((each) => each.is_staged).map((each) =>
    [[each.key, "text"], [each.own, "text"], [each.next, "text"], button("Take back", `Take back ${each.key}`, () => changeSettings({}, [each.key]))]), "nothing: the next start takes the profile's own values");
  table("setting-table", [["setting", "text"], ["this run", "text"], ["next start", "text"], ["what it is", "text"]], now.settings.map((each) =>
    [[each.key, "text"], [each.running ?? NONE, "text"], [each.next, each.is_staged ? "text good" : "text"], [each.description, "text"]]), "none");
  table("change-table", ["time", "who", "profile", ["change", "text"], ["reason", "text"]], now.changes.map((each) => {
    const put = Object.entries(each.put).map(([key, value]) => `${key}: ${JSON.stringify(each.before[key])} to ${JSON.stringify(value)}`);
    const said = [...put, ...each.taken_back.map((key) => `${key} taken back`)].join("; ");
    return [whenOf(each.at_ms), each.who, each.profile, [said, "text"], [each.why, "text"]];
  }), "none yet");
  fitInput();
  showPending();
}
async function settings() {
  if (at("settings").hidden) return;
  const found = await call("settings");
  if (!found) return;
  if (found.detail !== undefined) { at("settings-of").textContent = found.detail; return; }
  settingsNow = found;
  showSettings();
}
async function changeSettings(put, taken_back) {
  at("stage").disabled = true;
  try {
    const body = { put, taken_back, why: at("setting-reason").value };
    const answer = await send("settings/change", body, TABLE_MS);
    const said = await answer.json();
    if (answer.ok) {
      settingsNow = said;
      for (const key of Object.keys(put)) pending.delete(key);
      at("notice").textContent = taken_back.length ? `taken back: ${taken_back.join(", ")}.` : `staged: ${Object.keys(put).join(", ")}; holds from the next start on.`;
    } else {
      at("notice").textContent = `not staged: ${(said.violations && said.violations.length ? said.violations.join("; ") : whyNot(said))}`;
    }
  } catch {
    at("notice").textContent = `the page's process does not answer; use ${verb("settings")} in a terminal`;
  } finally {
    showSettings();
  }
}
function beginSettings() {
  at("setting").addEventListener("change", fitInput);
  at("change").addEventListener("submit", (event) => {
    event.preventDefault();
    const chosen = settingChosen();
    if (!chosen || chosen.why_not) return;
    pending.set(chosen.key, chosen.choices.length ? at("value-choice").value : at("value-text").value);
    showPending();
  });
  at("stage").addEventListener("click", () => changeSettings(Object.fromEntries(pending), []));
}
