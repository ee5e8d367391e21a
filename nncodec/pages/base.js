"use strict";
// What all pages have in common. Names and bytes are only ever shown by textContent.
const $ = (id) => document.getElementById(id);
function make(tag, text, kind) {
  const element = document.createElement(tag);
  if (text !== undefined) element.textContent = text;
  if (kind) element.className = kind;
  return element;
}
const phone = () => matchMedia("(max-width: 700px)").matches;
const count = (x) => x.toLocaleString("en-US");
