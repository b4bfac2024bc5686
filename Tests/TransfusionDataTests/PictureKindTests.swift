import Testing
import TransfusionCheckpoint
import _TestUtilities

@testable import TransfusionData

/// Every format, and resizing, against Pillow: Tests/Fixtures/picture_kinds.py and gif_kinds.py.
@Suite struct PictureKindTests {
    struct Case {
        var file: [UInt8]?
        var pictures: [String: Picture] = [:]
    }

    static func cases(_ file: String = "picture_kinds") throws -> [String: Case] {
        let fixture = try Fixtures.safetensors(file + ".safetensors")
        var cases: [String: Case] = [:]
        for entry in fixture.entries {
            let parts = entry.name.split(separator: ".")
            var bytes = [UInt8](repeating: 0, count: entry.shape.reduce(1, *))
            try bytes.withUnsafeMutableBytes { try fixture.read(entry, into: $0) }
            if parts[1] == "file" {
                cases[String(parts[0]), default: Case()].file = bytes
            } else {
                cases[String(parts[0]), default: Case()].pictures[String(parts[1])] = Picture(
                    width: entry.shape[1], height: entry.shape[0], rgb: bytes)
            }
        }
        return cases
    }

    static func decode(_ bytes: [UInt8], _ name: String = "owl") throws -> Picture {
        try bytes.withUnsafeBytes {
            try PictureFile.check($0, name: name)
            return try PictureFile.decode($0, name: name)
        }
    }

    @Test func everyPixelIsPillows() throws {
        let cases = try Self.cases()
        #expect(cases.values.count { $0.file != nil } == 219 && cases.count == 243)
        for (name, value) in cases {
            let pixels = try #require(value.pictures["pixels"])
            if let file = value.file { #expect(try Self.decode(file) == pixels, "\(name)") }
            let words = name.split(separator: " ").suffix(2).map(String.init)
            let filter = try #require(Picture.Filter(rawValue: words[0]))
            let size = try #require(Int(words[1]))
            #expect(pixels.square(size, filter: filter) == value.pictures["crop"], "\(name), crop")
            // Pillow has no picture whose shorter side would be rounded to nothing.
            if let padded = value.pictures["pad"] {
                #expect(pixels.square(size, .pad, filter: filter) == padded, "\(name), pad")
            }
        }
    }

    @Test func theFirstPictureOfAGIFIsPillows() throws {
        let cases = try Self.cases("gif_kinds")
        #expect(cases.count == 80)
        for (name, value) in cases {
            let (file, pixels) = (try #require(value.file), try #require(value.pictures["pixels"]))
            #expect(try Self.decode(file) == pixels, "\(name)")
        }
    }

    @Test func aShortSideStaysOnePixelAtLeast() {
        let line = Picture(width: 90, height: 1, filled: SIMD3(9, 8, 7))
        let square = line.square(4, .pad)
        #expect((0..<4).count { y in (0..<4).allSatisfy { square[$0, y] == SIMD3(9, 8, 7) } } == 1)
    }

    /// A cut-off file is found from its end, and named, whatever its format.
    @Test func whatIsCutOffIsRefused() throws {
        let cases =
            try Self.cases().filter { $0.key.hasPrefix("jpeg 24x24") || $0.key.hasPrefix("webp 20x31") }
            .merging(Self.cases("gif_kinds").filter { $0.key.hasPrefix("pillow 40x31") }) { $1 }
        for (name, value) in cases {
            let file = try #require(value.file)
            // What lacks no more than the end code of a GIF still has all of its pixels.
            let end = file.count - (name.hasPrefix("pillow") ? 6 : 1)
            for count in stride(from: 0, to: end, by: max(1, file.count / 40)) {
                #expect("\(name), \(count) bytes") {
                    try Array(file.prefix(count)).withUnsafeBytes { try PictureFile.check($0, name: "owl") }
                } throws: { "\($0)".hasPrefix("owl: ") }
            }
        }
    }

    @Test func whatIsTooLargeIsRefusedBeforeRoomIsMade() throws {
        let cases = try Self.cases()
        var jpeg = try #require(cases.first { $0.key.hasPrefix("jpeg 24x24 4:2:0") }?.value.file)
        // Height and width of the frame, four bytes after its marker.
        let frame = try #require((0..<jpeg.count).first { jpeg[$0] == 0xFF && [0xC0, 0xC2].contains(jpeg[$0 + 1]) })
        jpeg.replaceSubrange(frame + 5..<frame + 9, with: [0xFF, 0xDC, 0xFF, 0xDC])
        #expect { try Self.decode(jpeg) } throws: {
            "\($0)" == "owl: has 65500 × 65500 pixels, more than the 67108864 allowed; make it smaller"
        }
        var png = pictureHeader(width: 1 << 17, height: 1)
        #expect { try Self.decode(png) } throws: {
            "\($0)".hasPrefix("owl: has 131072 × 1 pixels, more than the 65535 allowed on a side")
        }
        png = pictureHeader(width: 0, height: 1)
        #expect { try Self.decode(png) } throws: { "\($0)".hasPrefix("owl: cannot be read: ") }
    }

    private func pictureHeader(width: Int, height: Int) -> [UInt8] {
        let body =
            Array("IHDR".utf8) + PictureTests.bigEndian(width) + PictureTests.bigEndian(height) + [8, 2, 0, 0, 0]
        let signature: [UInt8] = [0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A]
        let end: [UInt8] = [0, 0, 0, 0] + Array("IDAT".utf8) + [0x35, 0xAF, 0x06, 0x1E]
        return signature + PictureTests.bigEndian(13) + body + PictureTests.bigEndian(Int(PNG.checksum(body))) + end
    }

    /// Each scan of a progressive picture may cost as much as all pixels.
    @Test func aPictureOfTooManyScansIsRefused() throws {
        let cases = try Self.cases()
        let file = try #require(cases.first { $0.key.hasPrefix("cjpeg -scans") }?.value.file)
        let scan = try #require((0..<file.count).last { file[$0] == 0xFF && file[$0 + 1] == 0xDA })
        let last = Array(file[scan..<file.count - 2])
        let many = file[..<scan] + (0..<300).flatMap { _ in last } + [0xFF, 0xD9]
        #expect { try Self.decode(Array(many)) } throws: { "\($0)".contains("too many parts (scans)") }
    }

    /// Whatever an orientation tag says, the picture is read.
    @Test func aDamagedOrientationIsNoObstacle() throws {
        for (name, value) in try Self.cases() where name.contains("exif 6") {
            let file = try #require(value.file)
            let tiff = try #require(
                (0..<file.count - 4).first {
                    [[0x49, 0x49, 0x2A, 0], [0x4D, 0x4D, 0, 0x2A]].contains(Array(file[$0..<$0 + 4]))
                })
            for place in tiff..<tiff + 50 where !name.hasPrefix("png") {
                for byte: UInt8 in [0, 1, 0x7F, 0xFF] {
                    var changed = file
                    changed[place] = byte
                    let picture = try Self.decode(changed)
                    #expect(picture.width * picture.height == 66)
                }
            }
        }
    }

    @Test(
        arguments: [
            ([0x3B], "it has no picture"), ([0x2C, 0, 0, 0, 0, 0, 0, 1, 0, 0], "its first picture has no pixels"),
            (Self.frame + [9, 1, 0, 0], "its codes begin with 9 bits"),
            // Clear, end; a code that has no meaning yet; no codes at all; a block that is not there.
            (Self.frame + [2, 1, 0b101_100, 0], "its pixels end too early"),
            (Self.frame + [2, 1, 0b111_100, 0], "its pixels are damaged"),
            (Self.frame + [2, 0], "its pixels end too early"), (Self.frame + [2, 5, 0b100], "the file is cut off"),
        ] as [([UInt8], String)]) func whatIsWrongWithAGIFIsSaid(_ rest: [UInt8], _ message: String)
    {
        let file = Array("GIF89a".utf8) + [2, 0, 1, 0, 0, 0, 0] + rest
        #expect { try Self.decode(file) } throws: {
            "\($0)" == "owl: cannot be read: \(message); make it anew"
        }
    }

    /// Two pixels, without a palette.
    private static let frame: [UInt8] = [0x2C, 0, 0, 0, 0, 2, 0, 1, 0, 0]

    /// `TRANSFUSION_FUZZ=100000` asks for so many damaged files of each format; each is read or refused by name.
    @Test(arguments: ["png", "jpeg", "webp", "gif"]) func damagedFilesAreReadOrRefused(_ format: String) throws {
        let cases = try Self.cases(format == "gif" ? "gif_kinds" : "picture_kinds")
        let files = cases.filter { format == "gif" || $0.key.contains(format) }
            .sorted { $0.key < $1.key }.compactMap(\.value.file)
        #expect(files.count > 40)
        var generator = Mutations(seed: 5)
        for _ in 0..<Mutations.count(default: 1000) {
            let file = generator.mutated(files[generator.below(files.count)])
            do {
                let picture = try Self.decode(file)
                #expect(picture.rgb.count == picture.width * picture.height * 3)
            } catch {
                #expect("\(error)".hasPrefix("owl: "))
            }
        }
    }
}
