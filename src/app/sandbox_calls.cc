#include "app/sandbox_calls.h"

#include <linux/sched.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>

namespace adit::app {

namespace {

using io::CallVerdict;

// No program of ours ever means one of these: whoever tries has taken it over.
constexpr long kNever[] = {
    SYS_ptrace,        SYS_process_vm_readv, SYS_process_vm_writev, SYS_kexec_load,
    SYS_init_module,   SYS_finit_module,     SYS_delete_module,     SYS_mount,
    SYS_umount2,       SYS_pivot_root,       SYS_chroot,            SYS_swapon,
    SYS_swapoff,       SYS_reboot,           SYS_setns,             SYS_unshare,
    SYS_bpf,           SYS_perf_event_open,  SYS_userfaultfd,       SYS_add_key,
    SYS_request_key,   SYS_keyctl,           SYS_acct,              SYS_settimeofday,
    SYS_clock_settime, SYS_move_mount,       SYS_open_tree,         SYS_fsopen,
    SYS_open_by_handle_at,
};
constexpr long kPrograms[] = {SYS_execve, SYS_execveat};

// The ones of every turn of a loop first: kernels without the filter's cache walk the list.
constexpr long kUsed[] = {
    SYS_io_uring_enter, SYS_sendmsg, SYS_recvmsg, SYS_sendto, SYS_recvfrom, SYS_sendmmsg,
    SYS_recvmmsg, SYS_epoll_pwait, SYS_epoll_pwait2, SYS_epoll_ctl, SYS_splice, SYS_read, SYS_write,
    SYS_writev, SYS_readv, SYS_close, SYS_accept4, SYS_accept, SYS_futex, SYS_clock_gettime,
#ifdef SYS_epoll_wait
    SYS_epoll_wait, SYS_poll,
#endif
    SYS_ppoll,
    // Sockets. socket() is below.
    SYS_connect, SYS_bind, SYS_listen, SYS_shutdown, SYS_setsockopt, SYS_getsockopt,
    SYS_getsockname, SYS_getpeername, SYS_pipe2, SYS_eventfd2, SYS_timerfd_create,
    SYS_timerfd_settime, SYS_signalfd4, SYS_epoll_create1, SYS_io_uring_register,
    // Files: the state, what is read again on SIGHUP, the socket's file, /proc for metrics.
    SYS_openat, SYS_newfstatat, SYS_fstat, SYS_statx, SYS_lseek, SYS_fcntl, SYS_ioctl, SYS_flock,
    SYS_fsync, SYS_fdatasync, SYS_ftruncate, SYS_fchmod, SYS_fchmodat, SYS_renameat, SYS_renameat2,
    SYS_unlinkat, SYS_mkdirat, SYS_readlinkat, SYS_getdents64, SYS_faccessat, SYS_pread64,
    SYS_pwrite64, SYS_dup, SYS_dup3, SYS_getcwd,
    // Linux 5.8; older headers have no name for it, and the number is the same everywhere.
    439 /* faccessat2 */,
#ifdef SYS_open
    SYS_open, SYS_stat, SYS_lstat, SYS_access, SYS_readlink, SYS_rename, SYS_unlink, SYS_mkdir,
    SYS_rmdir, SYS_chmod, SYS_pipe, SYS_dup2,
#endif
    // Memory, threads, signals, time, and what the C library asks for on its own.
    SYS_brk, SYS_munmap, SYS_mremap, SYS_madvise, SYS_exit, SYS_exit_group, SYS_rt_sigreturn,
    SYS_rt_sigaction, SYS_rt_sigprocmask, SYS_sigaltstack, SYS_set_robust_list,
    SYS_set_tid_address, SYS_sched_yield, SYS_sched_getaffinity, SYS_restart_syscall,
    SYS_clock_nanosleep, SYS_nanosleep, SYS_clock_getres, SYS_gettimeofday, SYS_getrandom,
    SYS_getpid, SYS_gettid, SYS_tgkill, SYS_getuid, SYS_geteuid, SYS_getgid, SYS_getegid, SYS_uname,
    SYS_sysinfo, SYS_getrusage, SYS_prlimit64, SYS_times, SYS_getppid,
#ifdef SYS_getrlimit
    SYS_getrlimit,
#endif
#ifdef SYS_time
    SYS_time,
#endif
#ifdef SYS_rseq
    SYS_rseq,
#endif
#ifdef SYS_futex_waitv
    SYS_futex_waitv,
#endif
};

std::vector<io::CallRule> killed() {
  std::vector<io::CallRule> out;
  for (const long call : kNever) out.push_back({call, CallVerdict::Kill});
  return out;
}

}  // namespace

std::vector<io::CallRule> allowed_calls() {
  std::vector<io::CallRule> out;
  for (const long call : kUsed) out.push_back({call});
  out.push_back({SYS_socket, CallVerdict::Allow,
                 {{0, 0xffffffff, AF_INET}, {0, 0xffffffff, AF_INET6}, {0, 0xffffffff, AF_UNIX},
                  {0, 0xffffffff, AF_NETLINK}}});
  // A link inside a WebSocket goes to its session's thread through a pair of sockets.
  out.push_back({SYS_socketpair, CallVerdict::Allow, {{0, 0xffffffff, AF_UNIX}}});
  // Code is not made at run time.
  out.push_back({SYS_mmap, CallVerdict::Allow, {{2, PROT_EXEC, 0}}});
  out.push_back({SYS_mprotect, CallVerdict::Allow, {{2, PROT_EXEC, 0}}});
  // Threads, not processes. clone3 has its flags in memory, where a filter cannot see them; the C
  // library takes clone where there is no clone3.
  out.push_back({SYS_clone, CallVerdict::Allow, {{0, CLONE_THREAD, CLONE_THREAD}}});
  out.push_back({435 /* clone3 */, CallVerdict::Absent});
  for (const long call : kPrograms) out.push_back({call, CallVerdict::Kill});
  for (io::CallRule& rule : killed()) out.push_back(std::move(rule));
  return out;
}

std::vector<io::CallRule> calls_refused_to_programs() { return killed(); }

}  // namespace adit::app
