import { useEffect, useState, type FormEvent } from 'react';
import { ask, send, type User } from './api';
import { Flag, Mark } from './Flag';

export function SignIn({ onSession }: { onSession: (user: User | null) => void }) {
  const [people, setPeople] = useState<User[]>([]);
  const [error, setError] = useState<string>();
  useEffect(() => {
    ask<User[]>(fetch, '/people').then(setPeople, (error: Error) => setError(error.message));
  }, []);

  async function submit(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    const { value } = (event.nativeEvent as SubmitEvent).submitter as HTMLButtonElement;
    try {
      const session = await ask<{ user: User }>(fetch, '/session', send('POST', { user: value }));
      onSession(session.user);
    } catch (error) {
      setError((error as Error).message);
    }
  }

  return (
    <main className="harbour">
      <div className="pitch">
        <p className="brand">
          <Mark /> Halyard
        </p>
        <h1>
          Everyone on
          <br />
          the same line.
        </h1>
        <p className="lead">
          A chat for a small crew, in which nothing has to be reloaded: who is here, who is writing, what was read,
          what stands in the log.
        </p>
        <ul className="facts">
          <li>Plain HTTP, no WebSocket</li>
          <li>Nothing lost with the connection</li>
          <li>axum, SQLite, React</li>
        </ul>
      </div>
      <form className="muster" onSubmit={submit} aria-labelledby="muster">
        <h2 id="muster">Come aboard as</h2>
        <ul className="hoist">
          {people.map(({ id, name, roles }, index) => (
            <li key={id} style={{ '--turn': index } as React.CSSProperties}>
              <button name="user" value={id}>
                <Flag of={id} />
                <span>{name}</span>
                <small>{roles.length ? roles.join(', ') : 'crew'}</small>
              </button>
            </li>
          ))}
        </ul>
        <p className="quiet">
          No passwords: this is a demo, and everybody may be anybody. In a private window you can be a second one.
        </p>
        <p role="alert">{error}</p>
      </form>
    </main>
  );
}
