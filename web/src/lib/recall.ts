// Earlier messages of a session, gone through by the arrow keys.

export class Recall {
  private texts: string[] = [];
  private at = -1;

  /** Whether the text is the recalled one: one that was changed is a message of its own. */
  holds(text: string): boolean {
    return this.at >= 0 && this.texts[this.at] === text;
  }

  /** The message before the one that is shown; null where there is none. all is what was sent, oldest first. */
  older(text: string, all: string[]): string | null {
    if (!this.holds(text)) {
      if (text !== '') return null;
      // Once each, the newest first.
      this.texts = [...new Set(all.filter((each) => each.trim() !== '').reverse())];
      this.at = -1;
    }
    if (this.at + 1 >= this.texts.length) return null;
    return this.texts[++this.at]!;
  }

  /** The message after it; after the newest the composer is empty again. */
  newer(text: string): string | null {
    if (!this.holds(text)) return null;
    this.at--;
    return this.at < 0 ? '' : this.texts[this.at]!;
  }
}
