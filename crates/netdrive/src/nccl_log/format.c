/* NCCL's log function, as nets get it at init: formats one line and hands it to Rust, which can't take variadic arguments. */
#include <stdarg.h>
#include <stdio.h>

/* src/nccl_log/mod.rs */
int srv6_netdrive_wanted(int level, unsigned long flags);
void srv6_netdrive_line(int level, const char* where, int line, const char* text);

void srv6_netdrive_log(int level, unsigned long flags, const char* where, int line, const char* format, ...) {
  /* NCCL cuts longer lines too. */
  char text[1024];
  va_list arguments;
  /* Formatting costs more than asking. */
  if (!srv6_netdrive_wanted(level, flags)) return;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  srv6_netdrive_line(level, where ? where : "", line, text);
}
