/** One listener's error is not the others': it is thrown where nobody else stands. */
export const guard = (call: () => void) => {
  try {
    call();
  } catch (error) {
    setTimeout(() => {
      throw error;
    });
  }
};
