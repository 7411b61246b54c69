// Tabs that can be frozen. Playwright holds its own awake: they never are hidden, and only what is hidden freezes.

/** Opens pages of a profile of their own, each `{ evaluate, freeze, thaw }`. */
export async function freezable(t, browser) {
  const devtools = await browser.newBrowserCDPSession();
  const { browserContextId } = await devtools.send('Target.createBrowserContext');
  t.after(() => devtools.send('Target.disposeBrowserContext', { browserContextId }));
  let calls = 0;
  const waiting = new Map();
  devtools.on('Target.receivedMessageFromTarget', ({ message }) => {
    const { id, ...answer } = JSON.parse(message);
    waiting.get(id)?.(answer);
    waiting.delete(id);
  });

  return async function open(url) {
    const { targetId } = await devtools.send('Target.createTarget', { browserContextId, url });
    const { sessionId } = await devtools.send('Target.attachToTarget', { targetId, flatten: false });
    const send = (method, params) => new Promise((resolve) => {
      const id = (calls += 1);
      waiting.set(id, resolve);
      const message = JSON.stringify({ id, method, params });
      devtools.send('Target.sendMessageToTarget', { sessionId, message }).catch((error) => resolve({ error }));
    });
    return {
      async evaluate(run, argument) {
        const expression = `(${run})(${JSON.stringify(argument)})`;
        const answer = await send('Runtime.evaluate', { expression, awaitPromise: true, returnByValue: true });
        const failed = answer.error ?? answer.result.exceptionDetails;
        if (failed) throw new Error(failed.exception?.description ?? failed.message);
        return answer.result.result.value;
      },
      freeze: () => send('Page.setWebLifecycleState', { state: 'frozen' }),
      thaw: () => send('Page.setWebLifecycleState', { state: 'active' }),
    };
  };
}
