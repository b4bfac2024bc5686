import Foundation
import Testing
import _TestUtilities

@testable import TransfusionData

@Suite struct PictureTests {
    /// A picture whose every pixel differs from its neighbours.
    static func pattern(_ width: Int, _ height: Int) -> Picture {
        Picture(width: width, height: height, rgb: (0..<width * height * 3).map { UInt8($0 * 37 % 251) })
    }

    @Test(arguments: [(1, 1), (7, 3), (32, 32), (300, 2)])
    func pngGivesBackEveryPixel(_ size: (Int, Int)) throws {
        let picture = Self.pattern(size.0, size.1)
        let bytes = try PNG.encode(rgb: picture.rgb, width: picture.width, height: picture.height)
        #expect(try PNG.decode(bytes) == picture)
    }

    @Test func pngTellsHowItWasMade() throws {
        let picture = Self.pattern(5, 4)
        let text = [("parameters", "red circle\nSteps: 50"), ("Comment", "kör — 赤い円"), ("Empty", "")]
        let bytes = try PNG.encode(rgb: picture.rgb, width: 5, height: 4, text: text)
        #expect(try PNG.decode(bytes) == picture)
        let read = PNG.text(of: bytes)
        #expect(read.map(\.keyword) == text.map(\.0))
        #expect(read.map(\.text) == text.map(\.1))
        // libpng ignores chunks with a wrong checksum, so check it against the known answer.
        #expect(PNG.checksum(Array("123456789".utf8)) == 0xCBF4_3926)
    }

    private struct Expected: Decodable {
        let width: Int
        let height: Int
        let rgb: [UInt8]
    }

    /// Tests/Fixtures/pictures.py makes the pictures and lets Pillow read them.
    @Test func everyKindOfPNGIsReadAsPillowReadsIt() throws {
        let folder = Fixtures.path("pictures")
        let expected = try JSONDecoder().decode(
            [String: Expected].self, from: Data(contentsOf: URL(filePath: folder + "/expected.json")))
        let names = try FileManager.default.contentsOfDirectory(atPath: folder).filter { $0.hasSuffix(".png") }
        #expect(Set(names) == Set(expected.keys.map { $0 + ".png" }) && names.count == 19)
        for (name, picture) in expected {
            let path = folder + "/\(name).png"
            try PictureFile.check(path)
            let read = try PictureFile.read(path)
            #expect(read == Picture(width: picture.width, height: picture.height, rgb: picture.rgb), "\(name)")
            #expect(try PNG.decode(Files.read(path, limit: 1 << 20)) == read)
        }
    }

    /// What comes after the pixels is not needed; whether they are whole is known before they are read.
    @Test func truncationIsFoundWithoutReadingThePixels() throws {
        let directory = try TemporaryDirectory()
        let picture = Self.pattern(50, 50)
        let whole = try PNG.encode(rgb: picture.rgb, width: 50, height: 50)
        let path = directory.file("owl.png")
        for count in [0, 7, 8, 30, 50, whole.count / 2, whole.count - 13] {
            try Files.write(Array(whole.prefix(count)), to: path)
            #expect("\(count) bytes") { try PictureFile.check(path) } throws: { "\($0)".hasPrefix(path + ": ") }
        }
        for count in [whole.count - 12, whole.count - 1, whole.count] {
            try Files.write(Array(whole.prefix(count)), to: path)
            try PictureFile.check(path)
            #expect(try PictureFile.read(path) == picture)
        }
        #expect { try PictureFile.check(directory.file("none.png")) } throws: {
            "\($0)".contains("none.png: cannot be opened")
        }
    }

    @Test func transparentPixelsBecomeWhite() throws {
        // 2 × 1 grey with alpha: 100 at alpha 0, 100 at alpha 255; written by hand to need no encoder.
        let bytes: [UInt8] = [
            0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A, 0, 0, 0, 13, 0x49, 0x48, 0x44, 0x52, 0, 0, 0, 2, 0, 0, 0, 1,
            8, 4,
            0, 0, 0,
        ]
        func chunk(_ type: String, _ data: [UInt8]) -> [UInt8] {
            let body = Array(type.utf8) + data
            return Self.bigEndian(data.count) + body + Self.bigEndian(Int(PNG.checksum(body)))
        }
        let header = bytes + Self.bigEndian(Int(PNG.checksum(Array(bytes[12...]))))
        // A stored deflate block: no filter, then two pixels.
        let row: [UInt8] = [0, 100, 0, 100, 255]
        let adler = row.reduce((1, 0)) { (($0.0 + Int($1)) % 65521, ($0.1 + $0.0 + Int($1)) % 65521) }
        let stored: [UInt8] = [0x78, 0x01, 1, 5, 0, 250, 255] + row + Self.bigEndian(adler.1 << 16 | adler.0)
        let picture = try PNG.decode(header + chunk("IDAT", stored) + chunk("IEND", []))
        #expect(picture.rgb == [255, 255, 255, 100, 100, 100])
    }

    static func bigEndian(_ value: Int) -> [UInt8] {
        [24, 16, 8, 0].map { UInt8(value >> $0 & 0xFF) }
    }

    @Test func damagedPicturesAreRefusedByName() throws {
        let whole = try PNG.encode(rgb: Self.pattern(20, 20).rgb, width: 20, height: 20)
        for count in [0, 7, 8, 30, 50, whole.count / 2] {
            #expect {
                try PNG.decode(Array(whole.prefix(count)), name: "owl.png")
            } throws: { "\($0)".hasPrefix("owl.png: ") }
        }
        // A header that promises 2147483647 × 2147483647 pixels.
        var huge = whole
        for place in 16..<24 { huge[place] = place % 4 == 0 ? 0x7F : 0xFF }
        huge.replaceSubrange(29..<33, with: Self.bigEndian(Int(PNG.checksum(Array(huge[12..<29])))))
        #expect { try PNG.decode(huge) } throws: { "\($0)".contains("has 2147483647 × 2147483647 pixels, more than") }
        #expect(PNG.text(of: [UInt8](whole.prefix(40))).isEmpty)
    }

    @Test func resizingKeepsFlatColoursAndBrightness() {
        let flat = Picture(width: 17, height: 9, filled: SIMD3(200, 10, 90))
        #expect(flat.resized(width: 32, height: 5) == Picture(width: 32, height: 5, filled: SIMD3(200, 10, 90)))
        // Stripes of one pixel become grey, not a coarser pattern.
        var stripes = Picture(width: 64, height: 64)
        for y in 0..<64 {
            for x in stride(from: 0, to: 64, by: 2) { stripes[x, y] = SIMD3(0, 0, 0) }
        }
        let small = stripes.resized(width: 16, height: 16)
        for x in 2..<14 { #expect(abs(Int(small[x, 8].x) - 127) <= 12) }
        let picture = Self.pattern(10, 10)
        #expect(picture.resized(width: 10, height: 10) == picture)
    }

    @Test func planesAreTheModelsForm() {
        let picture = Self.pattern(3, 2)
        let floats = picture.planes.map { Float($0) / 127.5 - 1 }
        #expect(Picture(width: 3, height: 2, planes: floats) == picture)
        #expect(picture.planes[6] == picture.rgb[1])
        let wild: [Float] = [.nan, -.infinity, .infinity, -1.5, 3, 0.5]
        #expect(Picture(width: 2, height: 1, planes: wild).rgb == [0, 255, 255, 0, 0, 191])
    }

    @Test func contactSheetShowsPicturesAndLabels() throws {
        let entry = ContactSheet.Entry(
            label: "red circle", note: "held out", pictures: [Picture(width: 32, height: 32, filled: SIMD3(255, 0, 0))])
        let sheet = try ContactSheet(entries: [entry, entry, entry], columns: 2).render()
        let red = (0..<sheet.width * sheet.height).count { sheet.rgb[(3 * $0)...].prefix(3) == [255, 0, 0] }
        #expect(red == 3 * 96 * 96)
        let dark = (0..<sheet.width * sheet.height).count { sheet.rgb[3 * $0 + 1] < 100 && sheet.rgb[3 * $0] < 100 }
        #expect(dark > 100)
        #expect { try ContactSheet(entries: [entry], columns: 1).render(font: "/nowhere.ttf") } throws: {
            "\($0)".contains("fonts-dejavu-core")
        }
    }

    @Test func longLabelsAreCut() throws {
        let font = try LabelFont(size: 12)
        var picture = Picture(width: 200, height: 20)
        font.draw(String(repeating: "wide ", count: 50), onto: &picture, x: 0, y: 0, width: 100)
        #expect((101..<200).allSatisfy { x in (0..<20).allSatisfy { picture[x, $0] == SIMD3(255, 255, 255) } })
    }
}
