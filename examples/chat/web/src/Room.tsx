import { useState } from 'react';
import type { RoomLine, User } from './api';
import { Back } from './Back';
import { Crew } from './Crew';
import { Flag } from './Flag';
import { usePresence } from './live';
import { Log } from './Log';
import { useMedia } from './route';
import { Talk } from './Talk';
import { list } from './times';

const SIDES = { talk: 'Talk', log: 'Log', crew: 'Crew' };
type Side = keyof typeof SIDES;

/** A room: what is said, its log, and its crew. On a large screen what is said is always there. */
export function Room({ room, user }: { room: RoomLine; user: User }) {
  const isLarge = useMedia('(min-width: 68rem)');
  const [chosen, setChosen] = useState<Side>('talk');
  const side = isLarge && chosen === 'talk' ? 'log' : chosen;
  const { users } = usePresence(`room:${room.id}`);
  const present = new Set(users.map(({ userId }) => userId));
  const sides = (Object.keys(SIDES) as Side[]).filter((side) => !isLarge || side !== 'talk');

  return (
    <div className="room">
      <header className="room-head">
        <Back />
        <div>
          <h1>{room.name}</h1>
          <p className="topic">{room.topic}</p>
        </div>
        <Halyard room={room} present={present} />
      </header>
      <div className="sides" role="tablist" aria-label={`${room.name}: what to see`}>
        {sides.map((one) => (
          <button
            key={one}
            type="button"
            role="tab"
            id={`tab-${one}`}
            aria-selected={one === side}
            aria-controls={`side-${one}`}
            tabIndex={one === side ? 0 : -1}
            onClick={() => setChosen(one)}
            onKeyDown={({ key, currentTarget }) => {
              const step = { ArrowRight: 1, ArrowLeft: -1 }[key];
              const next = step && sides[(sides.indexOf(one) + step + sides.length) % sides.length];
              if (!next) return;
              setChosen(next);
              currentTarget.parentElement?.querySelector<HTMLElement>(`#tab-${next}`)?.focus();
            }}
          >
            {SIDES[one]}
          </button>
        ))}
      </div>
      {(isLarge || side === 'talk') && <Talk room={room} me={user.id} isTab={!isLarge} />}
      {side !== 'talk' && (
        <section className="side" role="tabpanel" id={`side-${side}`} aria-labelledby={`tab-${side}`}>
          {side === 'log' ? (
            <Log room={room} me={user.id} present={present} />
          ) : (
            <Crew room={room} user={user} present={present} />
          )}
        </section>
      )}
    </div>
  );
}

/** Who is in this room now has their flag up. */
function Halyard({ room, present }: { room: RoomLine; present: Set<string> }) {
  const here = room.members.filter(({ id }) => present.has(id)).map(({ name }) => name);
  return (
    <div className="halyard">
      <p className="hidden" role="status">
        {here.length ? `Here now: ${list(here)}` : ''}
      </p>
      <ul aria-label="Members">
        {room.members.map(({ id, name }) => (
          <li key={id} data-user={id} data-present={present.has(id)} title={`${name}${present.has(id) ? ' is here' : ''}`}>
            <Flag of={id} />
          </li>
        ))}
      </ul>
    </div>
  );
}
