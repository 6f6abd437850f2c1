// Nothing while the kernel lives; a readable sentence once it is gone, for the controls beside it then do nothing.

function render({ model, el }) {
  const notice = document.createElement("p");
  notice.setAttribute("role", "alert");
  notice.style.cssText = "margin:0 0 8px;padding:6px 10px;border-left:4px solid #b55208;background:#fdf3e6;color:#1a1a1a";
  notice.hidden = true;
  el.append(notice);
  const gone = () => {
    if (model.comm_live) return;
    notice.hidden = false;
    notice.textContent = model.get("message");
  };
  model.on("comm_live_update", gone);
  return () => model.off("comm_live_update", gone);
}

export default { render };
