"""Columns that look like personal data, by their names and by their cells: `looks_like`.

A column holds personal data if most of its cells have an unmistakable form, or its name says so and
most of its cells agree, or its cells are names of persons, birth dates, codes or sentences.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

import numpy as np

SAMPLE = 1000  # Different texts of a column that are looked at, at most
LONGEST = 200  # Characters of a text that are looked at
FEW = 20  # A column of at most this many different values holds categories
MOST = 0.5  # The fraction of texts that have a form from which a column has it
UNIQUE = 0.9  # The fraction of cells that differ in a column of identifiers
VARIED = 0.2  # The same of sentences
# The fraction of known names, also if a column's name hints at persons
KNOWN = 0.15
HINTED = 0.1
GENERATION = 12  # Years that are the standard deviation of dates of birth, at least

# Words of column names: `_words` writes the first as "person" and the second as "id"
_PERSON = (
    r"\b((cust|cli|usr|emp|stud|pers|pat|subj)(?= |$|(no|nr|num|id)$)|customer|client[ei]?|user|"
    r"patient(en|in)?|"
    r"person(en|al)?|people|employee?|staff|member|"
    r"student(en|in)?|pupil|subject|participant|respondent|conta(cto|ct|to)|owner|holder|"
    r"passenger|guest|"
    r"tenant|driver|parent|mother|father|spouse|child|partner|doctor|physician|teacher|agent|"
    r"manager|author|seller|buyer|sender|recipient|applicant|candidate|beneficiary|insured|donor|"
    r"voter|citizen|player|kunden?|mitarbeiter|mitglied(er|s)?|nutzer|benutzer|inhaber|mieter|"
    r"fahrer|schuler|teilnehmer|lehrer|arzt|empfanger|absender|versicherten?|bewerber|autor|"
    r"gebr(uiker)?|bruker|anvandare|assure|socio|aluno|alumno|cidadao|abonado|titular|"
    r"etudiant|eleve|colaborador|funcionario|trabajador|medewerker|werknemer|leerling|"
    r"behandelaar|"
    r"ansatt|medlem|pegawai|anggota|hasta(?= no)|ogrenci|musteri|zakaznik|pacjent|klient|asiakas|"
    r"potilas|officer|witness|borrower|subscriber|caller|victim|inmate|nurse|trainer|coach|"
    r"referee|"
    r"reviewer|adviser|advisor|consultant|next of kin|"
    r"empleado|paciente|usuario|utilisateur|dipendente|paziente|utente|klant|pracownik)(s(?=.))?"
)
_NUMBER = (
    r"((?<= )(no|num|nbr|number|key|ref|reference)s?|\b(num|cod(igo|ice|e)?)(?= person *$)|"
    r"\b(id|uuid|guid|numero)s?|nummern?|nr|kennung)\b"
)
# What is counted or described of a person, and things, which have names and numbers as well
_OTHER = (
    r"^(n|nb|count|anzahl|is|has)\b|\b(balance|amount|count|type|status|flag|len|length|brand|"
    r"model|plan|service|provider|verified|valid|opt|optin|sent|opened|click|rate|weight|age|"
    r"tenure|limit|day|month|score|total|sum|mean|saldo|betrag|art|anzahl|alter|gewicht|country|"
    r"land|nation|nationality|state|region|province|county|city|stadt|ville|ciudad|town|area|"
    r"location|site|station|airport|product|produkt|produit|producto|item|article|artikel|sku|"
    r"articulo|articolo|artigo|(bar|qr) ?code|transaction|(invoice|receipt|serien|tag)(?= id|$)|"
    r"order|bestell\w*|auftrags?|rechnungs?|pedido|commande|ordine|factura|facture|"
    r"fattura|"
    r"fatura|encomenda|tracking|shipment|sensor|machine|hash|commit|image|photo|picture|"
    r"file ?name|"
    r"file|batch|lot|serial|flight|ean|upc|gtin|isbn|issn|doi|part|build|rech|no ?fact|mat|"
    r"lote|los|container|md5|sha\d*|accession|meld\w*|melding\w*|incident|asset|oeuvre|fault|"
    r"error|defect|"
    r"train( line)?|ship|vessel|horse|"
    r"cultivar|drug|especie|espece|buch|book|livre|libro|titel|titre|titulo|titolo|compan(y|ie)|"
    r"organi[sz]ation|firma|"
    r"path|event|species|team|school|university|college|movie|film|song|title|artist|band|"
    r"game|job|week|quarter|occupation|beruf|profession|url|version|time|stamp|"
    r"timestamp)s?( (name|code|cd|desc|description|text|\d+|id))*$"
)

_MAIL = r"[^@\s]+(@|\(at\)|\[at\])[^@\s]+\.[^\W\d_]{2,}>?|.+<[^@\s]+@[^@\s]+>"
_IBAN = r"(?=.{15,42}$)[A-Z]{2}\d{2}( ?[A-Z0-9]{2,4}){3,8}"
_CARD = (
    r"(\d{4}[ -]){3}\d{1,7}|\d{4}[ -]\d{6}[ -]\d{4,5}|(4\d|5[1-5]|2[2-7]|6[05])\d{14}|"
    r"3[47]\d{13}|"
    r"(?=.*[*xX•]{4})([*xX•\d]{4,6}[ -]?){3,4}"
)
# 7 to 20 digits with signs in between, after a plus, a zero or an area code
_PHONE = (
    r"(?i)(?=(\D*\d){7,20}\D*$)(?!\d{1,8}$|[1-9]\d+$|\d+[.,]\d+$|\d{1,4}([-./])\d\d?\2)"
    r"(\+|00?[1-9]|[6-9]\d{4} \d{5}$|\d?\s?\(\d|"
    r"1?[\s.-]?[2-9]\d\d[\s.-]\d{3}[\s.-]\d{4})[\d\s()/.–-]*((x|ext\.?|#)\s?\d+)?"
)
_STREET = (
    r"(?i)(?=.*\d)(?!(\S+\s+){15})(.*\b(st|street|ave?|avenue|rd|road|ln|lane|dr|drive|blvd|"
    r"boulevard|court|ct|square|highway|hwy|parkway|apt|suite|p\.?o\.? box|plaza|place|pl|platz|"
    r"allee|rue|chemin|via|viale|corso|piazza|strada|calle|avda?|avenida|paseo|rua|travessa|ul|"
    r"ulica|utca|sokak|mahallesi|jalan|jl|ул|улица|пр|пер|οδος)\b.*|"
    r".*(str(asse|aße|\.)?|gasse|weg|platz|allee|ring|damm|straat|laan|gracht|gatan|vägen|vej|"
    r"gade|gata|veien|katu)\.? ?\d.*|.*(路|街|号|號|丁目|番地|로 ?\d|길 ?\d|شارع|רחוב).*)"
)
# Social security numbers of several countries, UUIDs, and IP and MAC addresses
_IDENTITY = (
    r"\d{3}-\d{2}-\d{4}|[XYZ\d]\d{7}-?[A-Z]|\d{3}\.\d{3}\.\d{3}-\d\d|[A-Z]{2} ?(\d\d "
    r"?){3}[A-Z]|\d{6}-[1-4]\d{6}|"
    r"[\da-fA-F]{8}(-[\da-fA-F]{4}){3}-[\da-fA-F]{12}|\d{1,3}(\.\d{1,3}){3}|"
    r"([\da-fA-F]{2}[:-]){5}[\da-fA-F]{2}|([\da-f]{1,4}:){3,7}:?[\da-f]{0,4}"
)
# Cells that are of a kind whatever their column is called
CERTAIN = {
    "e-mail addresses": _MAIL,
    "account numbers": _IBAN,
    "card numbers": _CARD,
    "telephone numbers": _PHONE,
    "addresses": _STREET,
    "identifiers": _IDENTITY,
}
# Kinds, words of column names, and the cells that columns of such names have
NAMED = {
    "e-mail addresses": (
        r"\b((e ?)?mails?)\b",
        _MAIL,
    ),
    "account numbers": (
        r"\b(iban|bban|account|acct|(bank|giro|spar)?konto|bankverbindung|kto|routing|blz|"
        r"bankleitzahl|cuenta|compte|conto|rekening|rachunek|conta|hesap|rib|nib|clabe|no ?rek|"
        r"uctu|счет|账号|口座番号|"
        r"계좌번호)\b",
        r"[A-Z]{0,4} ?\d[\dA-Z\s./-]{4,32}|[*xX•]+ ?\d{3,}",
    ),
    "card numbers": (
        r"\b((credit|debit|bank)? ?cards?|(kredit)?karten?|cc|ccn|pan|tarjeta|carte|carta|"
        r"cartao)\b",
        r"[\d*xX•][\d*xX• -]{10,22}",
    ),
    "telephone numbers": (
        r"\b(\w*phones?|tele?|cell|mob(ile?)?|movel|movil|mobil(funk)?|handy\w*|tel\w*|tlf\w*|"
        r"fone\w*|(hm|home|work|wk) ?ph|ph|cel|mov|fax|\w*ruf|msisdn|"
        r"whatsapp|celular|portable|cellulare|gsm|телефон|电话|手机|電話|電話番号|携帯|전화|"
        r"전화번호|휴대폰|هاتف|טלפון|τηλεφωνο)\b",
        r"(?i)[+(\d][\d\s()/.+–-]{5,24}((x|ext\.?)\s?\d+)?",
    ),
    "addresses": (
        r"\b((?<!ip )(?<!mac )addr(ess\w*)?|\w*adress[ae]?n?|\w*anschrift|\w*adresse|street\w*|"
        r"\w*strasse|(haus|house) id|zip( ?code)?|post(al)? ?code|postleitzahl|plz|wohnort|"
        r"geburtsort|birth ?place|place of birth|home ?town|direccion|domicilio|calle|rue|"
        r"codigo postal|code postal|indirizzo|\w*adres|alamat|osoite|lakcim|morada|ulica|ulice|"
        r"endereco|cep|kod pocztowy|адрес|улица|"
        r"индекс|地址|住所|住址|邮编|郵便番号|주소|우편번호|عنوان|כתובת)\b",
        r"(?s)[^\W\d].{2,}|\d[\d/-]*\s?[a-zA-Z]?([\s,].*)?|[\dA-Z -]{3,10}",
    ),
    "dates of birth": (
        r"\b(birth|birthda(y|te)|birth ?year|dob|yob|born|geburt(s?(tag|datum|jahr)?)|"
        r"geb ?(dat\w*)?|geboren|naiss\w*|nacim\w*|(fecha|fec|fch|data|date|dt|f|d) ?(nac|nasc|"
        r"naiss|ur|nar)\w*|"
        r"nasc\w*|geboorte\w*|f[oø]dt|"
        r"f[oø]dsel\w*|fodelse\w*|dogum\w*|syntym\w*|szul\w*|bday|brth\w*|gb ?dat\w*|dat nar\w*|"
        r"ttl|urodz\w*|рождения|出生|出生日期|生年月日|生日|생년월일|생일)\b",
        r"(18[89]|19\d|20[0-3])\d|\d{6}(\d\d)?|[^\W\d]{3,9}\.? \d{1,2}(st|nd|rd|th)?,? \d{2,4}|"
        r"\d{1,2}[^\W\d]{3}\d{2,4}|"
        r".*\d{1,4}\D{1,3}(\d{1,2}|"
        r"[^\W\d]{3,9})\D{1,3}\d{2,4}.*",
    ),
    "names": (
        r"\b((first|last|sur|family|given|middle|maiden|full|fore|legal|real|preferred) ?names?|"
        r"[flm](name|nm)|(first|last|full|person) ?nm|person (namen?|naam|navn|namn|tutor)|"
        r"\w{3,}(ed|wd) by|names? of (the )?person|\w*(vor|nach|zu)namen?|(familien|"
        r"geburts|ruf)namen?|prenoms?|nom de famille|nombres?|apell?idos?|nome|cognome|sobrenome|"
        r"imie|nazwisko|(voor|achter)naam|(for|efter|etter)na(mn|vn)|jmeno|prijmeni|имя|фамилия|"
        r"отчество|фио|姓名|姓|名字|氏名|名前|이름|성명|اسم|الاسم|שם|ονομα|नाम)\b",
        r"[^\d_@#/\\:;!?=+*<>{}%&$€£|~^]{2,60}",
    ),
    "identifiers": (
        r"\b((person|account|policy|device|session|cookie|licen[cs]e|matrikel|vertrags?|"
        r"membership|case|fall|akten|tax|steuer|sv|\w*versicherungs?|national|identity|"
        r"nhs|\w*pass) (id|code)|ssn|social security|seguridad social|securite sociale|nino|nir|"
        r"nss|national insurance|taxpayer|"
        r"passport|\w*ausweis\w*|mrn|medical record|aktenzeichen|imei|ip|mac|vin|"
        r"kennzeichen|licen[cs]e plate|plate|targa|kfz|login|person (code|login)|nick ?name|"
        r"screen name|handle|twitter|dni|doc(umento?)? ident\w*|nif|nie|cpf|cnpj|curp|pesel|bsn|"
        r"rut|cedula|cpr|hetu|nuss|amka|egn|oib|jmbg|matricul[ae]|matricola|legajo|tessera|"
        r"cod(ice)? fiscale|person (names?|naam|navn|namn|alias)|nom(bre|e)? person|identifiant|"
        r"uname|uid|nick|insta|"
        r"inlog ?naam|kullanici adi|\w*tunnus|discord|steam (name|id)|skype|badge|id "
        r"person|\w{3,}(ed|"
        r"wd) by|osobni id|"
        r"osobni cislo|rodne cislo|ss last|(user|\w*account|profile) ?name|"
        r"pseudo(nym)?|github|instagram|aadhaar|инн|снилс|паспорт|身份证|身份证号|マイナンバー|주민등록번호)\b",
        r"\d+|\S.{2,}",
    ),
    "free text": (
        r"\b(comments?|notes?|remarks?|descriptions?|feedback|reviews?|messages?|texts?|"
        r"freitext|bemerkung(en)?|kommentare?|notiz(en)?|anmerkung(en)?|beschreibung(en)?|"
        r"nachricht(en)?|observacion(es)?|comentarios?|commentaires?|opmerking(en)?|"
        r"anamnes[ei]s?|complaints?|beschwerden?|комментари[ий]|примечание|备注|備考|비고)\b",
        r"(?s).*\S[\s,;].*\S.*|.*[\u3040-\u9fff]{5}.*",
    ),
}
_HINTS = r"\b(names?|nom|naam|nev|ad|nazwa|person)\b"
_NO_PERSON = (
    r"(?is).*[\d_@#/\\:;!?=+*<>{}%&$€£|~^].*|.*\w\.[a-z]{2,}|(\S+\s+){5}.*|"
    r"(?-i:[A-Z]\w+( [a-z]\w+)+)|.*\b(inc|ltd|limited|"
    r"llc|llp|plc|corp|corporation|company|co|group|holding|bank|hotel|universit\w*|college|"
    r"school|"
    r"hospital|airport|park|county|gmbh|ag|kg|ohg|gbr|sarl|sas|sa|sl|spa|"
    r"srl|bv|nv|oy|ab|as|aps|zrt|kft|ооо|оао|зао|ао|and|und|et|y|e|и|és)\b.*|.*有限公司|株式会社.*|"
    r"(north|east|south|west|new|lake|port|fort|san|santa|saint|st|los|las|el)\b.*"
)
# A house number after or before a few words, perhaps with a place behind them
_HOUSE = (
    r"(?i)([^\W\d]\S*( \S*){0,3}\D,? \d{1,4}(-\d+)?\s?[a-z]?|"
    r"\d[\d/-]{0,6}[a-z]?,? [^\W\d]\S*( \S+){0,3})(,.*)?"
)
_FRACTION = r"-?\d*[.,]\d+([eE][+-]?\d+)?"
_YEAR = r"(?<!\d)(?:1[89]\d\d|20\d\d)(?!\d)"
# One word or blocks of capital letters and digits; no date, and no number of at most 10 digits
_CODE = (
    r"(?!\d{4}-\d\d-\d\d|1\d{12}$|-?\d{1,10}$)(?=.*\d{3})(?=(.*\d){4})"
    r"([\w.+-]{5,40}|[A-Z\d .-]{5,24})"
)
_SENTENCE = r"(?s)(\S+\s+){4}.*|.*[\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff]{12}.*"


def looks_like(name: str, texts: Sequence[str], count: int, kind: str) -> str:
    """Say what personal data a column looks like.

    Returns:
        The kind of personal data, such as "e-mail addresses"; an empty text for other columns.
    """
    sample = [text[:LONGEST].removesuffix(".0") for text in texts[:SAMPLE]]
    if len(texts) <= min(FEW, count // 3) or _fraction(_FRACTION, sample) > KNOWN:
        return ""
    words = _words(name)
    if kind == "date":
        named, _ = NAMED["dates of birth"]
        if re.search(named, words) or _are_births(sample):
            return "dates of birth"
        return ""
    for what, form in CERTAIN.items():
        if _fraction(form, sample) > MOST:
            return what
    if re.search(_OTHER, words):
        return ""
    for what, (named, form) in NAMED.items():
        if re.search(named, words) and _fraction(form, sample) > MOST:
            return what
    return _by_content(words, sample, len(texts) / count)


def _by_content(words: str, texts: Sequence[str], different: float) -> str:
    ways = {re.sub(r"\d", "", text) for text in texts if re.fullmatch(_HOUSE, text)}
    if len(ways) > MOST * len(texts):
        return "addresses"
    known = sum(map(_known, texts)) / len(texts)
    least = HINTED if re.search(_HINTS, words) else KNOWN
    if known > least and _fraction(_NO_PERSON, texts) < KNOWN:
        return "names"
    if different > UNIQUE and (re.search(r"\bid\b", words) or _fraction(_CODE, texts) > UNIQUE):
        return "identifiers"
    if different > VARIED and words == "person" and _fraction(r"\S{3,}", texts) > MOST:
        return "identifiers"
    if different > VARIED and _fraction(_SENTENCE, texts) > MOST:
        return "free text"
    return ""


def _are_births(dates: Sequence[str]) -> bool:
    years = [int(year) for year in re.findall(_YEAR, " ".join(dates))]
    return years != sorted(years) and bool(np.std(years) > GENERATION)


def _known(text: str) -> bool:
    words = re.findall(r"[^\W\d]+", _plain(text))
    named = any(word in NAMES or ENDINGS.fullmatch(word) for word in words)
    return named or bool(FORMS.match(text))


def _plain(text: str) -> str:
    letters = re.sub("[\u0300-\u036f]", "", unicodedata.normalize("NFKD", text.casefold()))
    return unicodedata.normalize("NFC", letters)


def _words(name: str) -> str:
    spaced = re.sub(r"(?<=[^\W\d_])(?=\d)|(?<=[a-zà-ÿ\d])(?=[A-Z])|_", " ", name)
    known = re.sub(_PERSON, "person ", _plain(spaced))
    return " ".join(re.findall(r"\w+", re.sub(_NUMBER, " id", known)))


def _fraction(form: str, texts: Sequence[str]) -> float:
    return sum(1 for text in texts if re.fullmatch(form, text)) / len(texts)


# In lower case and without accents
_FREQUENT = """
james robert john michael david william richard joseph thomas charles christopher daniel matthew
anthony donald steven paul andrew joshua kenneth kevin brian george timothy ronald edward jason
ryan jacob gary nicholas eric jonathan stephen larry justin scott brandon benjamin samuel gregory
alexander patrick raymond jack dennis jerry tyler aaron jose adam nathan henry douglas zachary
peter kyle noah jeremy walter christian keith roger terry sean gerald carl harold dylan arthur
lawrence jesse billy bruce gabriel joe logan alan juan albert willie wayne randy vincent mason roy
ralph bobby russell bradley philip eugene liam oliver lucas leo ian colin craig stuart graham neil
simon martin oscar harry charlie theodore isaac owen connor cody derek dustin todd troy travis
shane jared marcus mary patricia jennifer linda elizabeth barbara susan jessica karen sarah lisa
nancy sandra ashley emily kimberly margaret donna michelle carol amanda melissa stephanie rebecca
sharon laura amy kathleen angela shirley emma pamela nicole anna samantha christine debra rachel
janet maria olivia heather helen diane julie joyce lauren kelly joan andrea megan cheryl abigail
sophia martha sara janice ann judy julia alice jean denise danielle marilyn beverly diana brittany
theresa alexis doris lori tiffany chloe fiona kate jane anne ellen erin courtney allison vanessa
tracy tina dana wendy hans klaus jurgen dieter uwe rainer werner stefan andreas sebastian tobias
florian markus holger lars dirk harald norbert karl heinz otto kurt ernst wilhelm hermann max
moritz felix jonas leon luis finn elias emil anton jakob johann johannes georg fabian dominik
marcel rene mario marco monika petra helga ingrid erika gabriele birgit anja martina cornelia
johanna marie sophie clara luise elisabeth franziska jana sonja melanie nina daniela bettina gerda
annette regina pierre philippe nicolas bernard pascal thierry julien antoine francois jacques henri
louis etienne thibault nathalie sylvie sandrine dominique manon ines margot lucie helene laetitia
antonio manuel francisco javier carlos jesus miguel pedro jorge alberto pablo raul enrique ramon
vicente fernando rafael sergio andres joaquin eduardo roberto ana marta paula elena cristina
concepcion silvia sofia valentina adriana giuseppe giovanni vincenzo bruno lorenzo luca elisa rosa
joao jan krzysztof marcin marek grzegorz ryszard jozef krystyna aleksandra karolina natalia jakub
pavel tomas lukas hana eva istvan laszlo zoltan gabor attila zsuzsanna ilona katalin agnes andrei
lotte erik anders johan per nils gunnar magnus mette karin birgitta astrid matti juhani tapani
helena olavi anneli kaarina mehmet mustafa ali ibrahim osman murat emine elif mohammed muhammad
mohamed ahmed omar hassan hussein karim fatima noor rahul amit arjun priya anita aarav aditya diya
wei ming jing hiroshi takashi kenji yuki sakura nguyen tran tatiana irina svetlana marina sergei
aleksandr vladimir ivan igor nikolai boris viktor kwame emeka adebayo smith johnson williams jones
garcia miller davis rodriguez martinez hernandez lopez gonzalez wilson anderson taylor moore
thompson harris sanchez clark ramirez lewis robinson walker allen wright torres adams nelson baker
mitchell carter roberts gomez phillips evans turner diaz parker edwards collins stewart morris
morales murphy rogers gutierrez morgan cooper peterson bailey howard ramos kim cox richardson
watson brooks chavez bennett ruiz hughes alvarez castillo sanders patel myers ross foster hamilton
sullivan wallace cole simpson murray tucker burns crawford henderson gordon palmer butler barnes
fisher hunter hayes dixon marshall mcdonald kennedy muller schmidt schneider fischer weber meyer
wagner becker schulz hoffmann schafer koch bauer schroder braun krause meier kohler herrmann huber
peters lang weiss schubert gunther winkler roth beck schuster ludwig kraus heinrich brandt haas
schreiber graf ziegler sauer steiner moser dubois durand fournier fontaine rousseau clement gautier
fernandez perez alonso serrano molina castro delgado ortega rubio sanz iglesias medina russo
esposito bianchi ricci marino conti rizzo lombardi barbieri santoro rinaldi silva oliveira souza
pereira ferreira almeida carvalho ribeiro kowalski novak svoboda dvorak nagy kovacs toth szabo
horvath popescu ionescu jansen bakker smit meijer mulder janssen peeters andersson johansson
karlsson nilsson eriksson larsson olsson persson hansen olsen larsen andersen pedersen nielsen
jensen christensen rasmussen korhonen virtanen makinen nieminen yilmaz demir ozturk arslan singh
sharma verma iyer reddy nair das wang zhang chen liu zhou lin tanaka suzuki sato watanabe yamamoto
vu okafor mensah сергеи андреи михаил мария ольга екатерина татьяна ирина юрии виктор людмила
галина марина олександр оксана γιωργοσ δημητρησ νικολαοσ κωστασ ιωαννησ μαρια αικατερινη βασιλησ
αννα محمد علي حسن حسين محمود عمر عبد عبدالله يوسف سعيد مريم زينب משה יוסף דוד יעקב אברהם שרה רחל
חנה אסתר נועה תמר כהן לוי מזרחי פרץ ביטון דהן פרידמן יצחק דניאל राम राहुल अनिल सुनील संजय राजेश
कुमार सिंह देवी यादव पटेल खान जैन चौधरी झा अमित नेहा रवि विजय رضا جعفر عباس نرگس مهدی احمدی محمدی
سمير طارق busra korkmaz erdogan aslan gul bui duong duc δημητρα ευαγγελοσ νικολαου αναστασια богдан
володимир олег антон максим роман юлия ксения полина алина надежда любовь wijaya setiawan pratama
saputra hidayat lestari wahyuni rahayu timo pekka leena lahtinen koskinen heikkinen jarvinen laine
alexandru ionut marian popa dumitrescu chatterjee chopra kapoor malhotra menon naidu hugo gaetano
gianni filippo mirko victor gustavo emilio marcos lena lea mia isabel carmen camille chantal claire
irene ricardo eduarda moreau lefebvre leroy petit bonnet girard gauthier yamada ito kobayashi
nakamura haruto yoko gupta agarwal mehta deepak sunita anjali pooja vikram rajesh sanjay suresh
amina layla aisha khadija youssef salma tariq chukwu ngozi chidi kofi mwangi wanjiru otieno dlamini
nkosi minh linh huong pham hoang phan wong chan cheung zhao huang xiao yang jun agnieszka
malgorzata katarzyna piotr pawel tomasz wojciech anastasia natasha dmitri sergey giulia chiara
francesca alessandro matteo ingeborg sven torsten ayse fatma zeynep hatice ahmet yusuf budi dewi
siti putri agus dimitris kostas eleni yannis иван анна елена наталья дмитрии александр алексеи
владимир иванов петров אבי moreno jimenez romero navarro dominguez vazquez gil suarez herrera
aguilar vargas mendoza guzman reyes ortiz salazar soto ferrari romano colombo greco gallo costa
mancini giordano fontana caruso galli leone longo massimo simone davide federica alessia kruger
lehmann konig kaiser fuchs scholz moller hahn vogel keller berger wojcik kaminski lewandowski
dupont lambert roux fabre isabelle monique celik kaya sahin yildiz bengtsson lindberg alves gomes
martins barbosa rocha rekha kavita shreya mori okada ling hui feng abdullah jamal zahra nasser
okonkwo adeyemi achieng njoroge
"""
NAMES = frozenset(_FREQUENT.split())
# Endings of family names and patronymics
ENDINGS = re.compile(
    r"\w{3,}(mann|me[iy]e?r|ma[iy]e?r|huber|hofer|[nrs]sen|sson|ovic|evic|enko|czyk|wicz|"
    r"[wn]sk[iay]|vsky|oglu|poulos|poulou|idis|akis|shvili|etti|ucci|ielli|[oe]va?|quist|"
    r"moto|guchi)|(mc|mac|o')[a-z]{4,}|"
    r"\w{2,}([ое]ва?|енко|чук|вич|вна|οπουλος|οπουλου|ιδης|ακης)"
)
_CHINESE = (
    "王李张張刘劉陈陳杨楊黄黃赵趙吴吳周徐孙孫马馬朱胡郭何高林郑鄭谢謝罗羅梁宋唐许許韩韓冯馮邓鄧曹彭曾肖田董袁潘于蒋蔡余杜叶程苏魏吕丁任沈姚卢姜崔"
    "钟谭陆汪范廖贾夏韦付方邹孟熊秦邱尹薛闫段雷侯史陶黎贺顾毛郝龚邵万钱严戴莫孔向汤"
)
_JAPANESE = (
    "佐藤|鈴木|高橋|田中|伊藤|渡辺|渡邊|山本|中村|小林|加藤|吉田|山田|佐々木|山口|松本|井上|木村|斎藤|齋藤|清水|山崎|阿部|池田|橋本|石川|山下|中島|"
    "石井|小川|前田|岡田|長谷川|藤田|後藤|近藤|村上|遠藤|青木|坂本|斉藤|福田|太田|西村|藤井|金子|岡本|藤原|中野|三浦|原田|中川|松田|竹内|小野|田村"
)
_KOREAN = "김이박최정강조윤장임한오서신권황안송류유전홍고문양손배백허남심노하곽성차주우구나민진지엄"
# Titles; and names in scripts without blanks, which begin with a frequent family name
FORMS = re.compile(
    r"(?i)(.*,\s*)?(mr|mrs|ms|miss|dr|prof|herrn?|frau|mme|mlle|monsieur|madame|sra?|don|sig|dott|"
    r"sir|lady|pani?|г-н|г-жа|السيدة?|الأستاذة?)\b\.?\s+\S|(นาย|นาง|นางสาว|น\.ส\.)|"
    rf"([{_CHINESE}][\u4e00-\u9fff]{{1,2}}|({_JAPANESE})[\s\u3000]?[\u3040-\u9fff]{{1,4}}|"
    rf"[{_KOREAN}][가-힣]{{2}})$"
)
