import{r as e}from"./disclose-version-BEjde82W.js";import{r as t}from"./ansi-B33fDy1y.js";import{i as n,s as r}from"./format-DTBFPZBm.js";import{r as i}from"./markdown-BBjg_QMl.js";import{i as a,n as o,s,t as c}from"./tools-DT5_jdS8.js";import{a as l,r as u}from"./words-C9iVOG86.js";function d(e){return f(i(e).children,`

`)}function f(e,t){return e.map(p).filter(e=>e!==``).join(t)}function p(e){switch(e.type){case`code`:case`math`:return e.value;case`list`:return e.children.map((t,n)=>{let r=e.ordered?`${(e.start??1)+n}. `:`- `;return`${r}${t.checked===!0?`[x] `:t.checked===!1?`[ ] `:``}${f(t.children,`
`).replace(/\n/g,`\n${` `.repeat(r.length)}`)}`}).join(`
`);case`blockquote`:return f(e.children,`

`).replace(/^/gm,`> `);case`table`:return e.children.map(e=>e.children.map(e=>m(e.children)).join(`	`)).join(`
`);case`thematicBreak`:return`---`;case`html`:return e.value;default:return`children`in e?m(e.children):m([e])}}function m(e){return e.map(e=>{if(e.type===`break`)return`
`;if(e.type===`link`){let t=m(e.children);return t===e.url||e.url===`mailto:${t}`?t:`${t} (${e.url})`}return e.type===`image`?e.alt||e.url:`value`in e?e.value:`children`in e?m(e.children):``}).join(``)}function h(e,t=``){let n=Math.max(2,...[...e.matchAll(/`{3,}/g)].map(e=>e[0].length)),r="`".repeat(n+1);return`${r}${t}\n${e.replace(/\n$/,``)}\n${r}`}var g=e=>e.includes("`")?`\`\` ${e} \`\``:`\`${e}\``;function _(e,n){switch(e.kind){case`user`:case`assistant`:return e.body.text;case`thought`:return e.body.text.replace(/^/gm,`> `);case`plan`:return e.body.entries.map(e=>`- [${e.status===`completed`?`x`:` `}] ${e.content}`).join(`
`);case`tool`:{let{verb:r,object:i}=s(e.body,n),l=c(e.body),u=t(a(e.body));return[`**${r}** ${i?g(i):``}`.trim(),l&&h(l),...o(e.body).map(e=>`${g(e.path)}\n\n${h(e.newText)}`),u&&h(u)].filter(Boolean).join(`

`)}case`approval`:return`**${l(e.body)}** ${g(u(e.body,n))}`;case`notice`:return`*${e.body.text}*`}}function v(e,t){return e.kind===`user`?e.body.text:d(_(e,t))}function y(t,n,r){let i=[`# ${t.title||e.common.newSession}`,`${n} · ${g(t.cwd)} · ${b(t.created_at)}`],a=``;for(let o of r){let r=o.kind===`user`?e.item.you:n;(o.kind===`user`||r!==a)&&i.push(`## ${r} · ${b(o.at)}`),a=r,i.push(_(o,t.cwd))}return`${i.filter(Boolean).join(`

`)}\n`}function b(e){return`${r(Date.parse(e),{weekday:`short`,day:`numeric`,month:`short`,year:`numeric`})}, ${n(e)}`}export{y as i,b as n,v as r,_ as t};