import { href } from './route';

/** On a small screen the rooms are a page of their own. */
export const Back = () => (
  <a className="back" href={href({ page: 'home' })} aria-label="Back to the rooms">
    <svg viewBox="0 0 24 24" aria-hidden="true">
      <path d="M15 4l-8 8 8 8" fill="none" stroke="currentColor" strokeWidth="2.5" />
    </svg>
  </a>
);
