// Without this script everything is there; with it the timeline can be filtered.
"use strict";
const filters = document.querySelector(".filters");
const rows = document.querySelectorAll(".row");
const wanted = {
  all: () => true,
  ran: (row) => !row.matches(".cached, .waiting"),
  cached: (row) => row.matches(".cached"),
  critical: (row) => row.matches(".critical"),
};
filters.hidden = false;
filters.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  for (const other of filters.children) other.setAttribute("aria-pressed", other === button);
  for (const row of rows) row.hidden = !wanted[button.dataset.show](row);
});
