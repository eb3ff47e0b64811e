setInterval(async () => {
  if (document.hidden || document.activeElement.form) return;
  const answer = await fetch(location.href).catch(() => 0);
  const next = answer.ok && new DOMParser().parseFromString(await answer.text(), 'text/html').querySelector('main');
  if (!next) { document.title = '(no answer) pingreq'; return; }
  document.querySelectorAll('details[open][id]').forEach(d => next.querySelector('#' + CSS.escape(d.id))?.setAttribute('open', ''));
  document.querySelector('main').replaceWith(next);
  document.title = next.dataset.title;
}, 10000);
