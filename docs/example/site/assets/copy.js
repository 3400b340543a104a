// Buttons that copy the text of the element which their data-copies names. Without this script there is no such button.
(() => {
  'use strict';

  const status = document.getElementById('copied');

  // Where the clipboard is closed to pages (a site without https, an old browser), the text is selected: Ctrl+C does the rest.
  const select = (element) => {
    const range = document.createRange();
    range.selectNodeContents(element);
    const selection = window.getSelection();
    selection.removeAllRanges();
    selection.addRange(range);
  };

  const copy = async (button) => {
    const source = document.getElementById(button.dataset.copies);
    const name = button.dataset.name;
    let said = 'Copied';
    try {
      await navigator.clipboard.writeText(source.textContent);
    } catch {
      select(source);
      said = 'Selected: press Ctrl+C';
    }
    button.textContent = said;
    if (status) status.textContent = said;
    window.setTimeout(() => { button.textContent = name; }, 2000);
  };

  for (const button of document.querySelectorAll('button[data-copies]')) {
    button.dataset.name = button.textContent;
    button.hidden = false;
    button.addEventListener('click', () => copy(button));
  }
})();
