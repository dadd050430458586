// Draws the blocks of mermaid on a page, in the colours of the reader's theme. Its library is large, so that only pages with a diagram load it.
(() => {
  const blocks = [...document.querySelectorAll('code.language-mermaid')];
  if (blocks.length === 0) {
    return;
  }
  const root = document.documentElement;
  const isDark = () => ['navy', 'coal', 'ayu'].some((theme) => root.classList.contains(theme));
  const diagrams = blocks.map((block) => {
    const figure = document.createElement('div');
    figure.className = 'diagram';
    const source = block.textContent;
    (block.closest('pre') ?? block).replaceWith(figure);
    return { figure, source };
  });
  let drawn;
  const draw = async () => {
    if (drawn === isDark()) {
      return;
    }
    drawn = isDark();
    mermaid.initialize({
      startOnLoad: false,
      securityLevel: 'strict',
      theme: drawn ? 'dark' : 'neutral',
      fontFamily: 'inherit',
      sequence: { wrap: true, actorMargin: 10, width: 130 },
    });
    for (const [number, { figure, source }] of diagrams.entries()) {
      const { svg } = await mermaid.render(`diagram-${number}-${drawn ? 'dark' : 'light'}`, source);
      figure.innerHTML = svg;
    }
  };
  const library = document.createElement('script');
  library.src = `${path_to_root}mermaid.min.js`;
  library.onload = () => {
    draw();
    new MutationObserver(draw).observe(root, { attributes: true, attributeFilter: ['class'] });
  };
  document.head.append(library);
})();
