/** Which of n radio buttons a key chooses, as WAI-ARIA's radio group has it: it goes round at the ends. -1: none. */
export function radioStep(key: string, at: number, n: number): number {
  if (n === 0) return -1;
  if (key === 'ArrowDown' || key === 'ArrowRight') return (at + 1) % n;
  if (key === 'ArrowUp' || key === 'ArrowLeft') return (at + n - 1) % n;
  return key === 'Home' ? 0 : key === 'End' ? n - 1 : -1;
}
