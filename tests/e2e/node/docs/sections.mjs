// The front ends of the documentation: what a reader would copy, as it is written there.

/** Of each section with a whole page in it: its title, the page, and the script to build for it, if it has one. */
export function sections(markdown) {
  const found = [];
  for (const section of markdown.split(/^(?=#{2,4} )/m).slice(1)) {
    const title = /^#+ (.*)/.exec(section)[1];
    const fences = [...section.matchAll(/^```(\w+)\n(.*?)^```$/gms)].map(([, language, code]) => ({ language, code }));
    const page = fences.find(({ language, code }) => language === 'html' && code.includes('<script'));
    if (page) found.push({ title, page: page.code, script: fences.find(({ language }) => language === 'tsx')?.code });
  }
  return found;
}
