import type { Metrics, User } from './api';
import { Back } from './Back';
import { useStream } from './live';
import { useNames, useReports } from './queries';
import { timeOf } from './times';

const number = new Intl.NumberFormat();

/** Figures of a channel that keeps the newest: they are there at once, and always of now. */
export function Instruments({ user }: { user: User }) {
  const { data: now } = useStream<'dashboard:metrics', Metrics>('dashboard:metrics');
  const isOfficer = user.roles.some((role) => role === 'admin' || role === 'moderator');
  return (
    <div className="sheet-page">
      <header>
        <Back />
        <h1>Instruments</h1>
        {now && <p className="quiet">as of {timeOf(now.updatedAt)}</p>}
      </header>
      {!now && <p className="empty quiet">Waiting for the first figures …</p>}
      {now && (
        <>
          <section className="gauge wide" aria-label="Messages in the last hour">
            <Figure label="Messages in the last hour" value={now.messagesLastHour} />
            <Bars values={now.perMinute} />
          </section>
          <div className="gauges">
            <Figure label="Aboard now" value={now.aboard} />
            <Figure label="Streams open" value={now.streams} />
            <Figure label="Versions of logs" value={now.documentVersions} />
            <Figure label="Kept for returning" value={Math.ceil(now.retainedBytes / 1024)} unit="KiB" />
          </div>
        </>
      )}
      {isOfficer && <Reports />}
    </div>
  );
}

function Figure({ label, value, unit }: { label: string; value: number; unit?: string }) {
  return (
    <p className="figure">
      <span className="label">{label}</span>
      <span className="value">
        {number.format(value)}
        {unit && <small> {unit}</small>}
      </span>
    </p>
  );
}

/** Of each minute how much was said. The figure beside it says the sum to who cannot see it. */
function Bars({ values }: { values: number[] }) {
  const most = Math.max(2, ...values);
  return (
    <svg className="bars" viewBox={`0 0 ${values.length * 8} 64`} preserveAspectRatio="none" aria-hidden="true">
      {values.map((value, index) => {
        const height = value ? (value / most) * 60 : 2;
        return <rect key={index} data-any={value > 0} x={index * 8 + 1} y={64 - height} width="6" height={height} />;
      })}
    </svg>
  );
}

/** For officers: who reported what. */
function Reports() {
  const { data: reports = [], error } = useReports(true);
  const name = useNames();
  return (
    <section className="reports" aria-labelledby="reports">
      <h2 id="reports">Reports</h2>
      {reports.length === 0 && <p className="quiet">Nobody reported anything.</p>}
      <ol className="notices">
        {reports.map(({ id, reporter, sender, content, createdAt }) => (
          <li key={id}>
            <p className="notice-head">
              <strong>
                {name(reporter)} reported {name(sender)}
              </strong>
              <time dateTime={new Date(createdAt).toISOString()}>{timeOf(createdAt)}</time>
            </p>
            <p>{content}</p>
          </li>
        ))}
      </ol>
      <p role="alert">{error?.message}</p>
    </section>
  );
}
