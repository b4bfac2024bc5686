internal import Foundation

/// A moment on a clock that nobody sets, in a form that other processes of this machine understand, until it is started anew.
public struct ClockMark: Sendable, Codable, Equatable {
    /// Names the start of the machine that the clock counts from.
    private let boot: String
    private let seconds: Double
    /// In seconds since 1970, for other machines and later starts of this one.
    private let time: Double

    init(boot: String, seconds: Double, time: Double) {
        self.boot = boot
        self.seconds = seconds
        self.time = time
    }

    public static var now: ClockMark {
        var clock = timespec()
        clock_gettime(CLOCK_MONOTONIC, &clock)
        return ClockMark(
            boot: bootIdentity, seconds: Double(clock.tv_sec) + 1e-9 * Double(clock.tv_nsec),
            time: Date().timeIntervalSince1970)
    }

    /// How long after this moment another one was; never below 0. Between two machines, as well as their clocks agree.
    public func seconds(until other: ClockMark) -> Double {
        max(0, boot == other.boot && !boot.isEmpty ? other.seconds - seconds : other.time - time)
    }

    private static let bootIdentity: String = {
        let text = (try? String(contentsOfFile: "/proc/sys/kernel/random/boot_id", encoding: .utf8)) ?? ""
        return text.trimmingCharacters(in: .whitespacesAndNewlines)
    }()
}
