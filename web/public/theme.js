// Sets the chosen theme before the first paint. A file of its own, because the page allows no inline script.
try {
  var theme = localStorage.getItem('holdfast.theme');
  if (theme === 'light' || theme === 'dark') {
    document.documentElement.dataset.theme = theme;
    // The bar of the system around the page, too.
    document.querySelectorAll('meta[name="theme-color"]').forEach(function (meta) {
      meta.media = meta.media.indexOf(theme) < 0 ? 'not all' : 'all';
    });
  }
} catch (_) {
  // Storage may be blocked; the system's theme stays.
}
