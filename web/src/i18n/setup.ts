// The tests have the words that a browser has before anything is drawn.

import { vi } from 'vitest';
import { language } from './index.svelte';

vi.stubGlobal('document', { documentElement: {} });
await language.choose('en');
vi.unstubAllGlobals();
