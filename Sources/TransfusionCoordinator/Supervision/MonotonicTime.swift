/// Seconds of a clock that nobody sets, and that stands still while the machine sleeps.
enum MonotonicTime {
    private static let origin = SuspendingClock.now

    static var seconds: Double {
        // First, so that no time is before it.
        let origin = origin
        return (SuspendingClock.now - origin) / .seconds(1)
    }
}
