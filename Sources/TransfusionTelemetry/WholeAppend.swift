internal import Foundation
internal import TransfusionSupport

/// Appends to a log with one write, so that no reader ever sees half of an entry.
/// - Parameter descriptor: Of the file at `path`, opened to append.
func appendWhole(_ entry: [UInt8], to descriptor: Int32, _ path: String) throws(FileFailure) {
    let written = entry.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
    guard written == entry.count else {
        let failure = FileFailure("append to", path)
        // A disk that is full took the beginning of the entry.
        if written > 0 { ftruncate(descriptor, lseek(descriptor, 0, SEEK_CUR) - off_t(written)) }
        throw failure
    }
}
