// Times in the visitor's own zone, with UTC in the title.
"use strict";
(() => {
  const day = new Intl.DateTimeFormat(document.documentElement.lang, { dateStyle: "medium", timeStyle: "short" });

  function localise() {
    for (const time of document.querySelectorAll("time.date")) {
      const said = day.format(new Date(time.dateTime));
      if (time.textContent !== said) time.textContent = said;
    }
  }

  document.addEventListener("news", localise);
  localise();
})();
