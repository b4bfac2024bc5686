internal import Foundation
public import TransfusionSupport

/// Writes scalars and pictures as a TensorBoard event file.
///
/// A file is a sequence of framed protocol buffers: length, checksum of the length, event, checksum of the event. A
/// crash leaves at most an incomplete last event, at which readers stop.
///
/// ### References
/// tensorflow/core/util/event.proto and tensorflow/core/lib/io/record_writer.h describe the format.
public struct TensorBoardEvents: ~Copyable {
    public let path: String
    private let descriptor: Int32

    /// Begins a new file in the directory, beside those of earlier starts of the run.
    /// - Parameter step: The last step of earlier files that stays valid; TensorBoard drops what they say of later
    ///   steps.
    public init(directory: String, continuingAfter step: Int) throws(FileFailure) {
        let now = Date().timeIntervalSince1970
        let hasEarlierFiles = ((try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? [])
            .contains { $0.contains("tfevents") }
        let name = "events.out.tfevents.\(Int(now)).\(ProcessInfo.processInfo.hostName).\(getpid())"
        // Two starts in one second need two files.
        var number = 0
        while access("\(directory)/\(name).\(number)", F_OK) == 0 { number += 1 }
        path = "\(directory)/\(name).\(number)"
        descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { throw FileFailure("create", path) }
        try append(Self.fileVersion(time: now))
        if step > 0 || hasEarlierFiles { try append(Self.restart(time: now, step: step + 1)) }
    }

    deinit {
        if descriptor >= 0 { close(descriptor) }
    }

    /// Writes what a step reports.
    public func append(_ record: StepRecord) throws(FileFailure) {
        try append(Self.scalars(record.scalars, time: Date().timeIntervalSince1970, step: record.step))
    }

    /// Writes a picture.
    /// - Parameters:
    ///   - tag: As in `samples/prompt_0`.
    ///   - png: The bytes of a PNG file.
    public func appendImage(
        _ tag: String, png: some Collection<UInt8>, width: Int, height: Int, step: Int
    ) throws(FileFailure) {
        try append(
            Self.image(tag, png: png, width: width, height: height, time: Date().timeIntervalSince1970, step: step))
    }

    private func append(_ event: ProtocolBuffer) throws(FileFailure) {
        try appendWhole(Self.framed(event.bytes), to: descriptor, path)
    }
}

extension StepRecord {
    var scalars: [(tag: String, value: Float)] {
        let parts = losses.sorted { $0.key < $1.key }.map { (tag: "loss/\($0.key)", value: Optional($0.value)) }
        let values: [(tag: String, value: Double?)] =
            [("loss/total", loss)] + parts + [
                ("optim/lr", learningRate), ("optim/grad_norm", gradientNorm), ("perf/tokens_per_s", tokensPerSecond),
                ("perf/mfu", modelFLOPsUtilization), ("perf/others_share", othersShare),
                ("perf/memory_bytes", Double(memoryBytes)), ("time/step", stepSeconds), ("time/data", dataSeconds),
                ("time/comm", communicationSeconds), ("time/wait", waitSeconds),
            ]
        var scalars = values.compactMap { entry in entry.value.map { (tag: entry.tag, value: Float($0)) } }
        if let validation {
            scalars.append((tag: "eval/total", value: Float(validation.loss)))
            for (name, loss) in validation.losses.sorted(by: { $0.key < $1.key }) {
                scalars.append((tag: "eval/\(name)", value: Float(loss)))
            }
        }
        return scalars
    }
}

extension TensorBoardEvents {
    static func fileVersion(time: Double) -> ProtocolBuffer {
        var event = ProtocolBuffer()
        event.double(1, time)
        event.text(3, "brain.Event:2")
        return event
    }

    /// A session that starts at a step: readers forget what they know of this step and later ones.
    static func restart(time: Double, step: Int) -> ProtocolBuffer {
        var session = ProtocolBuffer()
        session.integer(1, 1)
        var event = ProtocolBuffer()
        event.double(1, time)
        event.integer(2, step)
        event.message(7, session)
        return event
    }

    static func scalars(_ values: [(tag: String, value: Float)], time: Double, step: Int) -> ProtocolBuffer {
        var summary = ProtocolBuffer()
        for (tag, value) in values {
            var entry = ProtocolBuffer()
            entry.text(1, tag)
            entry.float(2, value)
            summary.message(1, entry)
        }
        return event(summary, time: time, step: step)
    }

    static func image(
        _ tag: String, png: some Collection<UInt8>, width: Int, height: Int, time: Double, step: Int
    ) -> ProtocolBuffer {
        var image = ProtocolBuffer()
        image.integer(1, height)
        image.integer(2, width)
        image.integer(3, 3)  // RGB
        image.data(4, png)
        var entry = ProtocolBuffer()
        entry.text(1, tag)
        entry.message(4, image)
        var summary = ProtocolBuffer()
        summary.message(1, entry)
        return event(summary, time: time, step: step)
    }

    private static func event(_ summary: ProtocolBuffer, time: Double, step: Int) -> ProtocolBuffer {
        var event = ProtocolBuffer()
        event.double(1, time)
        event.integer(2, step)
        event.message(5, summary)
        return event
    }

    static func framed(_ event: [UInt8]) -> [UInt8] {
        var record: [UInt8] = []
        record.appendLittleEndian(UInt64(event.count))
        record.appendLittleEndian(maskedCRC32C(record))
        record += event
        record.appendLittleEndian(maskedCRC32C(event))
        return record
    }

    /// The checksum rotated and shifted, as records that hold checksums themselves ask for.
    static func maskedCRC32C(_ bytes: [UInt8]) -> UInt32 {
        let crc = crc32c(bytes)
        return ((crc >> 15) | (crc << 17)) &+ 0xA282_EAD8
    }

    /// CRC-32 with Castagnoli's polynomial (RFC 3720, appendix B.4).
    static func crc32c(_ bytes: [UInt8]) -> UInt32 {
        ~bytes.reduce(~0) { crc, byte in castagnoli[Int(UInt8(truncatingIfNeeded: crc) ^ byte)] ^ (crc >> 8) }
    }

    private static let castagnoli: [UInt32] = (0..<256).map { byte in
        (0..<8).reduce(UInt32(byte)) { crc, _ in crc & 1 == 1 ? (crc >> 1) ^ 0x82F6_3B78 : crc >> 1 }
    }
}

/// A message in the wire format of protocol buffers, as far as events need it.
struct ProtocolBuffer {
    private(set) var bytes: [UInt8] = []

    mutating func integer(_ field: Int, _ value: Int) {
        variable(UInt64(field) << 3)
        variable(UInt64(bitPattern: Int64(value)))
    }

    mutating func double(_ field: Int, _ value: Double) {
        variable(UInt64(field) << 3 | 1)
        bytes.appendLittleEndian(value.bitPattern)
    }

    mutating func float(_ field: Int, _ value: Float) {
        variable(UInt64(field) << 3 | 5)
        bytes.appendLittleEndian(value.bitPattern)
    }

    mutating func data(_ field: Int, _ value: some Collection<UInt8>) {
        variable(UInt64(field) << 3 | 2)
        variable(UInt64(value.count))
        bytes += value
    }

    mutating func text(_ field: Int, _ value: String) {
        data(field, value.utf8)
    }

    mutating func message(_ field: Int, _ value: ProtocolBuffer) {
        data(field, value.bytes)
    }

    /// Seven bits a byte, lowest first.
    private mutating func variable(_ value: UInt64) {
        var rest = value
        while rest >= 0x80 {
            bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        bytes.append(UInt8(rest))
    }
}

extension [UInt8] {
    fileprivate mutating func appendLittleEndian(_ value: some FixedWidthInteger) {
        Swift.withUnsafeBytes(of: value.littleEndian) { append(contentsOf: $0) }
    }
}
