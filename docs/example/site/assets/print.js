// On paper nobody opens a fold: those that say what the numbers rest on (data-prints) are open while the page is printed.
(function () {
  'use strict';

  let opened = []; // by this script; what the reader had open stays so

  window.addEventListener('beforeprint', () => {
    const closed = [...document.querySelectorAll('details[data-prints]:not([open])')];
    closed.forEach((fold) => { fold.open = true; });
    opened.push(...closed);
  });

  window.addEventListener('afterprint', () => {
    opened.forEach((fold) => { fold.open = false; });
    opened = [];
  });
})();
