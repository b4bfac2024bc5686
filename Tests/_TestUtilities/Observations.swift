internal import Foundation

/// The losses that a run has logged, in their order.
public func loggedLosses(ofRun directory: String) throws -> [Double] {
    try String(contentsOfFile: directory + "/metrics.jsonl", encoding: .utf8).split(separator: "\n").compactMap {
        line in
        try (JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any])?["loss"] as? Double
    }
}

/// What a process has in memory now, as the kernel counts it.
public func residentBytes(of pid: Int32) throws -> Int {
    let fields = try String(contentsOfFile: "/proc/\(pid)/statm", encoding: .utf8).split(separator: " ")
    guard fields.count > 1, let pages = Int(fields[1]) else { throw CocoaError(.fileReadCorruptFile) }
    return pages * sysconf(Int32(_SC_PAGESIZE))
}
