// What a keyboard and a screen reader need and the theme does not bring: names for the two side columns, and a way
// into code and tables that are wider than the screen.
addEventListener("DOMContentLoaded", () => {
  document.querySelector(".sidebar-drawer")?.setAttribute("aria-label", "Site");
  document.querySelector(".toc-drawer")?.setAttribute("aria-label", "This page");
  for (const wide of document.querySelectorAll("article pre, article .table-wrapper")) {
    wide.tabIndex = 0;
  }
});
