import { mount } from 'svelte';
import './styles/tokens.css';
import './styles/base.css';
import './styles/frame.css';
import './styles/transcript.css';
import './styles/dock.css';
import { language } from './i18n/index.svelte';
import { inside } from './lib/base';
import { begin } from './ui/pages';
import Root from './ui/Root.svelte';
import { App } from './state/app.svelte';

begin(inside(location.pathname));
await language.start();
const app = new App();
mount(Root, { target: document.getElementById('app')!, props: { app } });
void app.start();
