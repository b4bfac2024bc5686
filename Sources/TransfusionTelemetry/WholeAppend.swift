internal import Foundation
internal import TransfusionSupport

/// Appends to a log with one write where the system takes it whole, so that no reader sees half of an entry; what could be
/// appended in part only is taken back.
/// - Parameter descriptor: Of the file at `path`, opened to append.
func appendWhole(_ entry: [UInt8], to descriptor: Int32, _ path: String) throws(FileFailure) {
    var written = 0
    while written < entry.count {
        let count = entry[written...].withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
        if count < 0, errno == EINTR { continue }
        guard count > 0 else {
            // A write that a full disk cuts short counts as a success; only the next one tells the reason.
            if count == 0 { errno = ENOSPC }
            let failure = FileFailure("append to", path)
            if written > 0 { ftruncate(descriptor, lseek(descriptor, 0, SEEK_CUR) - off_t(written)) }
            throw failure
        }
        written += count
    }
}
