// Dialogs and sheets: one is over the page until it is gone.

/** Shows a dialog over the page; what it returns ends that, and gives the focus back to where it was. */
export function modal(dialog: HTMLDialogElement): () => void {
  const from = document.activeElement;
  dialog.showModal();
  return () => {
    dialog.close();
    // One that has left the document before it is closed gives nothing back.
    if (document.activeElement === document.body && from instanceof HTMLElement && from.isConnected) from.focus({ preventScroll: true });
  };
}
