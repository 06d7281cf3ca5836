/** Asks the reader for the service's key; it is kept in the page's memory only. */

const KEPT = "It is kept while this page is open, and nowhere else.";
const REFUSED = "The service does not take that key.";

const part = (id) => document.getElementById(id);

/** Promises a key; `refused` says that the last one was not taken. The focus goes back to where it was. */
export function askKey(refused) {
  const before = document.activeElement;
  part("key-hint").textContent = refused ? REFUSED : KEPT;
  part("key").ariaInvalid = refused;
  part("key").value = "";
  part("key-form").hidden = false;
  part("key").focus();
  return new Promise((resolve) => {
    part("key-form").onsubmit = (event) => {
      event.preventDefault();
      part("key-form").hidden = true;
      (before === document.body ? part("file") : before).focus();
      resolve(part("key").value);
    };
  });
}
