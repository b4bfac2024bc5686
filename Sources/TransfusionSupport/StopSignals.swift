internal import Foundation

/// The signals that ask a program to save and end: from people, batch systems, and terminals that are closed.
public enum StopSignals {
    public static let all = [SIGTERM, SIGINT, SIGUSR1, SIGHUP]

    /// Holds them back, in this process and in what it becomes by exec, until `listen`: one that comes before there is a
    /// handler would end the process. Call first of all, while there is one thread.
    public static func hold() {
        var signals = set
        sigprocmask(SIG_BLOCK, &signals, nil)
    }

    /// Lets `handler` take them, those that were held back as well. SIGHUP stays ignored where `nohup` has asked for that.
    public static func listen(_ handler: @escaping @convention(c) (Int32) -> Void) {
        for number in all {
            let before = signal(number, handler)
            if number == SIGHUP, isIgnore(before) { signal(number, SIG_IGN) }
        }
        var signals = set
        sigprocmask(SIG_UNBLOCK, &signals, nil)
    }

    private static var set: sigset_t {
        var set = sigset_t()
        sigemptyset(&set)
        for number in all { sigaddset(&set, number) }
        return set
    }

    private static func isIgnore(_ handler: (@convention(c) (Int32) -> Void)?) -> Bool {
        unsafeBitCast(handler, to: Int.self) == unsafeBitCast(SIG_IGN, to: Int.self)
    }
}
