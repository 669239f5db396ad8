// The progress comes after the page: it is the only part that may change while the page is open.
const progress = document.getElementById("progress");
if (progress) {
  fetch(`/api/progress/cached?user_id=${progress.dataset.user}`)
    .then((answer) => answer.json())
    .then((state) => { progress.textContent = `Analysis: ${state.percent_done} % of ${state.total} songs`; });
}
