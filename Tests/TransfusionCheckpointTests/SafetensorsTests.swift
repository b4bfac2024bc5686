import Foundation
import Testing
import TransfusionCheckpoint
import TransfusionCore
import _TestUtilities

@Suite struct SafetensorsTests {
    @Test func readsWhatThePythonLibraryWrites() throws {
        let file = try Fixtures.safetensors("checkpoint/types.safetensors")
        #expect(file.metadata == ["format": "pt", "by": "torch \"x\""])
        #expect(file.entries.count == 9)
        #expect(try file.entry("f32").shape == [2, 3])
        let f32 = try file.floats("f32")
        #expect(f32 == [1.5, -2.25, Float(sign: .plus, exponent: -149, significand: 5), .infinity, 0, 1e30])
        #expect(f32[4].sign == .minus)
        #expect(try file.floats("bf16") == [1, -3.140625, 65536])
        #expect(try file.floats("f16") == [0.5, -65504])
        #expect(try file.elements("i32", as: .i32) == [-1, Int32.max])
        #expect(try file.elements("i64", as: .i64) == [-(Int64(1) << 62)])
        #expect(try file.elements("u8", as: .u8) == [0, 1, 2, 3, 4] as [UInt8])
        #expect(try file.floats("scalar") == [7])
        #expect(try file.entry("scalar").shape.isEmpty)
        #expect(try file.floats("empty").isEmpty)
        #expect(try file.elements("quoted \"é\" \\ name", as: .i32) == [1, 2] as [Int32])
    }

    /// The reference writer's order, header and padding, byte for byte, up to the order of keys inside the JSON.
    @Test func writesTheSameDataAsThePythonLibrary() throws {
        let source = try Fixtures.safetensors("checkpoint/types.safetensors")
        let directory = try TemporaryDirectory()
        let path = directory.file("copy.safetensors")
        let tensors = source.entries.shuffled().map { entry in
            SafetensorsTensor(entry.name, entry.type, entry.shape) { range, memory in
                try source.read(entry, at: range.lowerBound, into: memory)
            }
        }
        try SafetensorsWriter().write(tensors, metadata: source.metadata, to: path)
        let copy = try SafetensorsFile(path)
        #expect(copy.metadata == source.metadata)
        #expect(Set(copy.entries.map(\.name)) == Set(source.entries.map(\.name)))
        for entry in source.entries {
            let other = try copy.entry(entry.name)
            #expect((other.type, other.shape) == (entry.type, entry.shape))
            func bytes(_ file: SafetensorsFile, _ entry: SafetensorsEntry) throws -> Data {
                var data = Data(count: entry.byteCount)
                try data.withUnsafeMutableBytes { try file.read(entry, into: $0) }
                return data
            }
            #expect(try bytes(copy, other) == bytes(source, entry))
        }
        let first = try Data(contentsOf: URL(fileURLWithPath: path))
        try SafetensorsWriter().write(tensors.shuffled(), metadata: source.metadata, to: path)
        #expect(try Data(contentsOf: URL(fileURLWithPath: path)) == first)
        #expect(try POSIXFileSystem().list(directory.path) == ["copy.safetensors"])
    }

    @Test func aFailedWriteLeavesTheOldFile() throws {
        let directory = try TemporaryDirectory()
        let path = directory.file("model.safetensors")
        try SafetensorsWriter().write([SafetensorsTensor("a", .f32, [1], [Float(1)])], to: path)
        struct Stop: Error {}
        #expect(throws: Stop.self) {
            try SafetensorsWriter().write([SafetensorsTensor("a", .f32, [1]) { _, _ in throw Stop() }], to: path)
        }
        #expect(try SafetensorsFile(path).floats("a") == [1])
        #expect(try POSIXFileSystem().list(directory.path) == ["model.safetensors"])
    }

    @Test(arguments: [
        ("{}", 4, "holds 4 bytes of data, its header describes 0"),
        (#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#, 0, "tensor a lies outside of the file"),
        (#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}"#, 4, "tensor a has 4 bytes for the shape [2]"),
        (#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}"#, 4, "tensor a lies outside"),
        (#"{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}"#, 4, "tensor a has an impossible shape"),
        (#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,9223372036854775807]}}"#, 4, "tensor a lies outside"),
        (
            #"{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,4]}}"#, 4,
            "tensor a has an impossible shape"
        ),
        (#"{"a":{"dtype":"F77","shape":[1],"data_offsets":[0,5]}}"#, 4, "tensor a lies outside"),
        (#"{"a":{"dtype":"F77","shape":[1],"data_offsets":[1,4]}}"#, 4, "tensor a leaves a gap"),
        (#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}"#, 2, "tensor a leaves a gap"),
        (
            #"{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"#
                + #""b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}"#,
            3, "tensor b overlaps"
        ),
        (#"{"a":{"dtype":"U8","shape":[1]}}"#, 1, "'data_offsets' is missing at a"),
        (#"{"a":7}"#, 1, "cannot be understood"),
        (String(repeating: "[", count: 100_000), 1, "has a header that is not JSON"),
        ("{\"a\":" + String(repeating: "[", count: 100_000), 1, "cannot be understood"),
    ])
    func headersThatLieAreRefused(_ header: String, _ dataBytes: Int, _ message: String) throws {
        let directory = try TemporaryDirectory()
        let path = directory.file("bad.safetensors")
        var bytes = withUnsafeBytes(of: UInt64(header.utf8.count).littleEndian) { Data($0) }
        bytes += Data(header.utf8) + Data(count: dataBytes)
        try bytes.write(to: URL(fileURLWithPath: path))
        let error = #expect(throws: CheckpointError.self) { try SafetensorsFile(path) }
        #expect(error?.description.hasPrefix(path + ": ") == true)
        #expect(error?.problem.contains(message) == true, "\(error?.problem ?? "")")
    }

    @Test(
        arguments: [[], [1, 2], [255, 255, 255, 255, 255, 255, 255, 255], [0, 0, 0, 0, 1, 0, 0, 0, 123]] as [[UInt8]])
    func lengthsThatLieAreRefused(_ bytes: [UInt8]) throws {
        let directory = try TemporaryDirectory()
        let path = directory.file("bad.safetensors")
        try Data(bytes).write(to: URL(fileURLWithPath: path))
        #expect(throws: CheckpointError.self) { try SafetensorsFile(path) }
        #expect(throws: FileSystemError.self) { try SafetensorsFile(directory.path) }
        #expect(throws: FileSystemError.self) { try SafetensorsFile(directory.file("missing")) }
    }
}
