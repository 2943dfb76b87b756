"use strict";
// One page of clusters, one cluster, the images in none, or what a search found. Text from the server is only ever set as text.
const token = document.querySelector("meta[name=page-token]").content;
const by = id => document.getElementById(id);
const view = { kind: "clusters", page: 0, number: null, selected: new Set(), marked: new Set(), like: new Map() };
let shown = null;   // what the server sent last

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

function say(text, wrong = false) {
  by("status").textContent = text;
  by("status").classList.toggle("error", wrong);
}

async function ask(address, options) {
  let answer, found;
  try {
    answer = await fetch(address, options);
    found = await answer.json();
  } catch {
    throw new Error("the page's server does not answer: is it still running?");
  }
  if (!answer.ok) throw new Error(found.error || "that did not work");
  return found;
}

const change = (what, given) =>
  ask("api/" + what, { method: "POST", headers: { "x-page": token }, body: given instanceof Blob ? given : JSON.stringify(given) });

function picture(image, note) {
  return make("img", { src: "thumb/" + image.row, loading: "lazy", alt: note || image.path, title: image.path });
}

function badges(cluster) {
  const found = [];
  if (cluster.cameras === 1) found.push("one camera");
  if (cluster.gap !== null && cluster.spread > cluster.gap) found.push("loose");
  if (cluster.gap !== null && cluster.gap < 0.2) found.push("near " + cluster.nearest);
  return found.map(text => make("span", { className: "badge", textContent: text }));
}

function facts(cluster) {
  const cameras = cluster.cameras === null ? "" : `, ${cluster.cameras} ${cluster.cameras === 1 ? "camera" : "cameras"}`;
  const near = cluster.gap === null ? "" : `; nearest: cluster ${cluster.nearest} at ${cluster.gap}`;
  return make("p", { className: "facts", textContent: `${cluster.size} ${cluster.size === 1 ? "image" : "images"}${cameras}; spread ${cluster.spread}${near}` });
}

function card(cluster) {
  const box = make("input", { type: "checkbox", checked: view.selected.has(cluster.number) });
  box.setAttribute("aria-label", "select cluster " + cluster.number);
  const open = make("button", { type: "button", textContent: "Cluster " + cluster.number });
  const article = make("article", { className: "cluster" },
    make("h2", {}, box, open, ...badges(cluster)), facts(cluster),
    make("ul", { className: "images" }, ...cluster.images.map(image => make("li", {}, picture(image)))));
  const mark = () => article.classList.toggle("selected", view.selected.has(cluster.number));
  box.addEventListener("change", () => {
    if (box.checked) view.selected.add(cluster.number); else view.selected.delete(cluster.number);
    mark(); tools();
  });
  open.addEventListener("click", () => go({ kind: "cluster", number: cluster.number, page: 0 }));
  mark();
  return article;
}

function markable(image) {
  const button = make("button", { type: "button", disabled: image.marked === true }, picture(image));
  if (image.like) button.append(make("img", { src: "thumb/" + image.like.row, loading: "lazy", className: "like", alt: "cluster " + image.like.cluster }));
  const pressed = () => button.setAttribute("aria-pressed", String(view.marked.has(image.row)));
  button.addEventListener("click", () => {
    if (view.marked.has(image.row)) view.marked.delete(image.row); else view.marked.add(image.row);
    if (image.like) view.like.set(image.row, image.like.cluster);   // as it was seen, also on another page of the list
    pressed(); tools();
  });
  pressed();
  const told = [image.camera === null ? "" : "camera " + image.camera, image.marked ? "outlier by decision" : "",
    image.like ? `like cluster ${image.like.cluster}, ${image.like.cosine.toFixed(3)}` : ""];
  return make("li", {}, button, told.filter(text => text).join(" \u00b7 "));
}

function hit(image) {
  const told = [image.cosine.toFixed(3), image.verdict, image.cluster === null ? "in no cluster" : "cluster " + image.cluster];
  const open = make("button", { type: "button" }, picture(image));
  open.disabled = image.cluster === null;
  open.addEventListener("click", () => go({ kind: "cluster", number: image.cluster, page: 0 }));
  return make("li", {}, open, told.filter(text => text !== null).join(" \u00b7 "));
}

function tools() {
  by("merge").hidden = view.kind !== "clusters";
  by("merge").disabled = view.selected.size < 2;
  by("merge").textContent = view.selected.size ? `Merge selected (${view.selected.size})` : "Merge selected";
  by("split").hidden = view.kind !== "cluster";
  by("split").disabled = view.marked.size === 0;
  by("split").textContent = view.marked.size ? `Split off marked (${view.marked.size})` : "Split off marked";
  by("join").hidden = view.kind !== "outliers";
  by("join").disabled = view.marked.size === 0;
  by("join").textContent = view.marked.size ? `Join marked (${view.marked.size})` : "Join marked";
  by("outlier").hidden = view.kind !== "cluster" && view.kind !== "outliers";
  by("outlier").disabled = view.marked.size === 0;
  by("outlier").textContent = view.marked.size ? `Marked are outliers (${view.marked.size})` : "Marked are outliers";
  by("none").hidden = view.kind === "outliers";
  by("back").hidden = view.kind === "clusters";
}

function pages(page, number) {
  const turn = (text, to) => {
    const button = make("button", { type: "button", textContent: text, disabled: to < 0 || to >= number });
    button.addEventListener("click", () => go({ page: to }));
    return button;
  };
  by("pages").replaceChildren(...(number > 1
    ? [turn("Previous", page - 1), make("span", { textContent: `page ${page + 1} of ${number}` }), turn("Next", page + 1)] : []));
}

function drawClusters(found) {
  by("title").textContent = document.title = "Clusters: " + found.title;
  by("counts").textContent = `${found.total} clusters of ${found.images} images, ${found.outliers} images in none; ${found.decisions} decisions`;
  by("following").textContent = found.following;
  by("main").replaceChildren(...found.clusters.map(card));
  pages(found.page, found.pages);
}

function drawCluster(found) {
  by("main").replaceChildren(make("section", { className: "wide" },
    make("h2", {}, "Cluster " + found.number, ...badges(found)), facts(found),
    make("p", { textContent: "Mark the images of another individual and split them off, or those of nobody in particular: they are outliers." }),
    make("ul", { className: "images" }, ...found.images.map(markable))));
  pages(found.page, found.pages);
}

function drawOutliers(found) {
  by("main").replaceChildren(make("section", { className: "wide" },
    make("h2", {}, "In no cluster"),
    make("p", { textContent: `${found.size} ${found.size === 1 ? "image" : "images"}. Beside each stands the cluster that it is most like: mark those that belong there and join them, or mark those of nobody in particular: they are outliers.` }),
    make("ul", { className: "images pairs" }, ...found.images.map(markable))));
  pages(found.page, found.pages);
}

function drawFound(found) {
  const known = found.length === 0 || found[0].verdict !== "different";
  by("main").replaceChildren(make("section", { className: "wide" },
    make("h2", {}, known ? "Most similar images" : "Not among these images; the most similar are"),
    make("ul", { className: "images" }, ...found.map(hit))));
  pages(0, 1);
}

async function load() {
  try {
    if (view.kind === "clusters") drawClusters(shown = await ask(`api/clusters?sort=${by("sort").value}&page=${view.page}`));
    else if (view.kind === "cluster") drawCluster(shown = await ask(`api/clusters/${view.number}?page=${view.page}`));
    else if (view.kind === "outliers") drawOutliers(shown = await ask(`api/outliers?page=${view.page}`));
    tools();
  } catch (error) { say(error.message, true); }
}

async function go(to) {
  if (to.kind) { view.marked.clear(); if (to.kind !== "clusters") view.selected.clear(); }
  Object.assign(view, to);
  say("");
  await load();
  window.scrollTo(0, 0);
}

async function act(what, given, done, back_to = "clusters") {
  try {
    await change(what, given);
    view.selected.clear(); view.marked.clear();
    if (view.kind !== "clusters" && what !== "undo") Object.assign(view, { kind: back_to, page: 0 });
    if (what === "undo") Object.assign(view, { kind: "clusters" });
    await load();
    say(done);
  } catch (error) {
    view.selected.clear();
    await load();
    say(error.message, true);
  }
}

async function search(file) {
  try {
    say("searching");
    const found = await change("search", file);
    Object.assign(view, { kind: "found", page: 0 });
    view.selected.clear(); view.marked.clear();
    drawFound(found); tools(); say("");
    window.scrollTo(0, 0);
  } catch (error) { say(error.message, true); }
}

const merge = () => view.kind === "clusters" && view.selected.size > 1 &&
  act("merge", { clusters: [...view.selected] }, `${view.selected.size} clusters are one now`);
const split = () => view.kind === "cluster" && view.marked.size > 0 &&
  act("split", { cluster: view.number, rows: [...view.marked] }, `${view.marked.size} images are another individual now`);
const outlier = () => {
  if ((view.kind !== "cluster" && view.kind !== "outliers") || view.marked.size === 0) return;
  const given = { cluster: view.kind === "cluster" ? view.number : null, rows: [...view.marked] };
  act("outlier", given, `${view.marked.size} images are in no cluster now`, view.kind === "cluster" ? "clusters" : "outliers");
};
const join = () => {
  if (view.kind !== "outliers" || view.marked.size === 0) return;
  const images = [...view.marked].filter(row => view.like.has(row)).map(row => [row, view.like.get(row)]);
  act("join", { images }, `${images.length} images are of a cluster now`, "outliers");
};
const none = () => view.kind !== "outliers" && go({ kind: "outliers", page: 0 });
const undo = () => act("undo", {}, "the last decision is taken back");
const back = () => view.kind !== "clusters" && go({ kind: "clusters", page: 0 });

by("merge").addEventListener("click", merge);
by("split").addEventListener("click", split);
by("join").addEventListener("click", join);
by("outlier").addEventListener("click", outlier);
by("none").addEventListener("click", none);
by("undo").addEventListener("click", undo);
by("back").addEventListener("click", back);
by("tools").addEventListener("submit", event => event.preventDefault());
by("sort").addEventListener("change", () => go({ kind: "clusters", page: 0 }));
by("picture").addEventListener("change", event => event.target.files.length && search(event.target.files[0]));
document.addEventListener("keydown", event => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.tagName === "SELECT") return;
  const action = { m: merge, s: split, j: join, o: outlier, n: none, u: undo, Escape: back }[event.key];
  if (action) { event.preventDefault(); action(); }
});
for (const kind of ["dragover", "dragenter"])
  document.addEventListener(kind, event => { event.preventDefault(); document.body.classList.add("over"); });
document.addEventListener("dragleave", event => event.relatedTarget || document.body.classList.remove("over"));
document.addEventListener("drop", event => {
  event.preventDefault();
  document.body.classList.remove("over");
  if (event.dataTransfer.files.length) search(event.dataTransfer.files[0]);
});
function follow() {   // #cluster-7 of the report
  const found = location.hash.match(/^#cluster-(\d{1,9})$/);
  return found ? go({ kind: "cluster", number: Number(found[1]), page: 0 }) : load();
}
window.addEventListener("hashchange", follow);
follow();
