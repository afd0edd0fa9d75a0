"""Frequent names of persons in many countries, by which names are told from other words."""

from __future__ import annotations

import re

_FREQUENT = """
james robert john michael david william richard joseph thomas charles christopher daniel matthew
anthony donald steven paul andrew joshua kenneth kevin brian george timothy ronald edward jason
jeffrey ryan jacob gary nicholas eric jonathan stephen larry justin scott brandon benjamin samuel
gregory alexander frank patrick raymond jack dennis jerry tyler aaron jose adam nathan henry
douglas zachary peter kyle noah ethan jeremy walter christian keith roger terry austin sean gerald
carl harold dylan arthur lawrence jordan jesse bryan billy bruce gabriel joe logan alan juan
albert willie elijah wayne randy vincent mason roy ralph bobby russell bradley philip eugene liam
oliver lucas leo ian colin craig stuart graham neil simon martin oscar harry charlie alfie
theodore isaac owen connor cody derek dustin todd troy travis shane jared marcus mary patricia
jennifer linda elizabeth barbara susan jessica karen sarah lisa nancy sandra betty ashley emily
kimberly margaret donna michelle carol amanda melissa deborah stephanie rebecca sharon laura
cynthia dorothy amy kathleen angela shirley emma brenda pamela nicole anna samantha katherine
christine debra rachel carolyn janet maria olivia heather helen catherine diane julie victoria
joyce lauren kelly christina ruth joan virginia judith evelyn hannah andrea megan cheryl
jacqueline madison teresa abigail sophia martha sara gloria janice kathryn ann isabella judy
charlotte julia alice jean denise frances danielle marilyn natalie beverly diana brittany theresa
kayla alexis doris lori tiffany chloe lucy amelia claire fiona gemma kate jane anne ellen erin
courtney allison vanessa tracy tina dana wendy hans klaus jurgen gunter dieter manfred uwe
wolfgang helmut horst bernd rainer gerhard werner stefan andreas ralf jorg matthias sebastian
tobias florian markus torsten thorsten holger kai sven lars jens dirk heiko olaf axel rudiger
volker detlef harald norbert reinhard siegfried friedrich karl heinz otto kurt ernst wilhelm
hermann fritz max moritz felix jonas leon luis finn elias emil anton jakob johann johannes georg
philipp fabian dominik marcel rene mario marco ursula monika petra renate helga ingrid gisela
brigitte christa erika sabine gabriele angelika heike birgit susanne anja katrin kathrin claudia
silke kerstin martina ulrike cornelia elke ute anke katharina johanna lena lea mia marie sophie
leonie hanna clara klara frieda greta ida luisa luise elisabeth magdalena franziska jana nadine
tanja sonja melanie nina steffi stefanie daniela bettina beate barbel edith hildegard gerda
waltraud rosemarie annette regina pierre michel philippe alain nicolas christophe laurent bernard
pascal olivier thierry julien antoine francois jacques guillaume henri louis mathieu sylvain yves
gerard hugues etienne thibault benoit nathalie isabelle sylvie francoise valerie sandrine
veronique celine chantal dominique monique aurelie emilie camille manon ines jeanne margot
juliette lucie helene elodie laetitia delphine gaelle antonio manuel francisco javier carlos jesus
miguel pedro jorge alberto alvaro diego adrian pablo raul enrique ramon vicente fernando rafael
sergio ignacio andres joaquin santiago eduardo ricardo roberto hector carmen josefa isabel dolores
pilar ana francisca antonia mercedes marta rosario lucia paula elena cristina concepcion raquel
beatriz rocio silvia irene montserrat sofia valentina camila gabriela alejandra adriana ximena
giuseppe giovanni luigi vincenzo salvatore domenico franco bruno paolo michele giorgio aldo
luciano stefano alessandro lorenzo matteo davide luca simone riccardo fabio massimo claudio
maurizio pietro enrico giulia chiara francesca federica alessia giorgia elisa rosa giovanna
giuseppina antonella paola joao paulo tiago rui nuno fernanda mariana leticia larissa juliana
aline jan piotr krzysztof andrzej tomasz pawel michal marcin marek grzegorz jerzy lukasz zbigniew
ryszard kazimierz jozef katarzyna malgorzata agnieszka krystyna ewa elzbieta zofia joanna janina
danuta aleksandra karolina natalia zuzanna jakub vojtech jiri petr pavel tomas lukas ondrej hana
lenka katerina eva veronika istvan laszlo zoltan gabor attila balazs zsuzsanna ilona katalin agnes
ion andrei mihai ioana cristian pieter cornelis hendrik willem gerrit jeroen maarten bram daan sem
sanne femke anouk lotte erik anders johan per nils mikael gunnar bjorn magnus henrik soren niels
mette kirsten karin birgitta astrid freja sofie hanne inger ole knut havard kari liv tor matti
juhani tapani mikko helena olavi anneli kaarina mehmet mustafa ahmet ali huseyin hasan ibrahim
ismail osman yusuf murat emre fatma ayse emine hatice zeynep elif meryem zehra aylin ozlem
mohammed muhammad mohamed ahmed omar hassan hussein khalid abdullah abdul youssef karim samir
tariq fatima aisha khadija maryam zainab layla noor amina yasmin salma rahul amit rajesh sanjay
suresh ramesh vijay anil ravi arjun vikram deepak rohit ankit pooja priya neha anjali sunita
kavita lakshmi anita rekha sita shreya aarav vivaan aditya ananya diya kumar wei ming jing hui yan
xin ling hong jun lei tao hiroshi takashi kenji yuki haruto sakura yoko keiko akiko kazuko minh
anh linh huong nguyen tran olga tatiana irina svetlana ekaterina marina ludmila galina sergey
sergei dmitry dmitri alexei aleksandr vladimir ivan igor mikhail andrey nikolai yuri boris oleg
viktor maksim kwame kofi ama chidi ngozi emeka adebayo fatoumata mamadou amadou smith johnson
williams jones garcia miller davis rodriguez martinez hernandez lopez gonzalez wilson anderson
taylor moore jackson thompson harris sanchez clark ramirez lewis robinson walker young allen king
wright torres flores adams nelson baker rivera campbell mitchell carter roberts gomez phillips
evans turner diaz parker cruz edwards collins reyes stewart morris morales murphy rogers gutierrez
ortiz morgan cooper peterson bailey howard ramos kim cox richardson watson brooks chavez bennett
mendoza ruiz hughes price alvarez castillo sanders patel myers ross foster jimenez hamilton
sullivan wallace cole simpson murray freeman webb tucker burns crawford henderson gordon palmer
butler barnes fisher hunter hayes dixon marshall mcdonald kennedy muller schmidt schneider fischer
weber meyer wagner becker schulz hoffmann schafer koch bauer richter klein schroder neumann
schwarz zimmermann braun kruger hofmann hartmann lange schmitt krause meier lehmann schmid schulze
maier kohler herrmann konig mayer huber kaiser peters lang scholz moller weiss jung hahn schubert
vogel keller gunther berger winkler roth beck lorenz baumann franke albrecht schuster ludwig bohm
kraus schumacher kramer vogt jager gross seidel heinrich brandt haas schreiber graf dietrich
ziegler kuhn pohl engel busch bergmann voigt sauer arnold pfeiffer gruber steiner moser wimmer
eder brunner leitner egger dubois durand moreau lefebvre leroy fournier girard bonnet dupont
lambert fontaine rousseau guerin boyer garnier chevalier legrand gauthier perrin morin clement
gautier dumont fernandez perez alonso navarro dominguez vazquez serrano molina castro delgado
ortega rubio sanz iglesias medina garrido cortes rossi russo ferrari esposito bianchi colombo
ricci marino greco conti giordano mancini rizzo lombardi moretti barbieri fontana santoro mariani
rinaldi silva santos oliveira souza pereira ferreira almeida carvalho ribeiro nowak kowalski
kowalska wisniewski wojcik kowalczyk kaminski lewandowski zielinski szymanski novak svoboda dvorak
nagy kovacs toth szabo horvath popescu ionescu jansen visser bakker smit meijer mulder bos vos
janssen peeters andersson johansson karlsson nilsson eriksson larsson olsson persson hansen olsen
larsen andersen pedersen nielsen jensen christensen rasmussen korhonen virtanen makinen nieminen
yilmaz kaya demir celik sahin yildiz aydin ozturk arslan khan singh sharma gupta verma mehta joshi
iyer reddy nair das wang zhang chen liu yang huang zhao zhou xu zhu lin tanaka suzuki sato
watanabe ito yamamoto nakamura kobayashi kato yoshida choi pham hoang vu okafor mensah александр
сергеи владимир дмитрии алексеи андреи иван михаил николаи анна мария елена ольга наталья
екатерина татьяна ирина светлана юрии виктор людмила галина марина олександр оксана микола γιωργοσ
γεωργιοσ δημητρησ δημητριοσ νικοσ νικολαοσ κωστασ κωνσταντινοσ γιαννησ ιωαννησ μαρια ελενη
κατερινα αικατερινη βασιλησ αννα χρηστοσ σοφια παπαδοπουλοσ محمد احمد علي حسن حسين محمود مصطفى عمر
خالد عبد عبدالله ابراهيم يوسف سعيد فاطمة عايشة خديجة مريم زينب نور سارة ليلى משה יוסף דוד יעקב
אברהם שרה רחל מרים חנה אסתר נועה תמר כהן לוי מזרחי פרץ ביטון דהן פרידמן יצחק דניאל राम शयाम राहुल
परिया अनिल सुनील संजय राजेश कुमार सिंह शरमा वरमा गुपता देवी यादव पटेल खान मिशरा जैन चौधरी पाणडेय
झा अमित नेहा पूजा रवि विजय السيد السيدة الاستاذ الاستاذة الدكتور الدكتورة المهندس الانسة ال كريم
رضا جعفر عباس امير نرگس مهدی رضایی احمدی محمدی حسینی سمير طارق هدى منى رنا pan pani merve busra
selim serkan yildirim polat aksoy korkmaz erdogan aslan can deniz gul hakan kemal le phan huynh
dang bui do ngo duong ly truong thi van duc thanh hung tuan lan mai phuong trang δημητρα γεωργιου
χριστινα παναγιωτησ ευαγγελοσ αθανασιοσ ιωαννου νικολαου αναστασια ευαγγελια σπυροσ σταυροσ
θανασησ αγγελοσ богдан володимир сергии андрии олег павел евгении антон максим кирилл роман юлия
ксения дарья полина алина вера надежда любовь dewi siti putri agus budi wahyu sri nur rizki wijaya
susanto setiawan pratama saputra hidayat lestari wahyuni rahayu heikki jukka timo pekka antti juha
marja leena tuula ritva paivi sari satu lahtinen koskinen heikkinen jarvinen laine mihaela
alexandru vasile gheorghe ionut constantin florin dumitru marian popa radu stan dumitrescu raj dev
sen bose mukherjee banerjee chatterjee agarwal mishra pandey yadav chopra kapoor malhotra mehra
rao pillai menon naidu ishaan kabir hugo ugo gaetano gianni piero sandro nicola ettore filippo
tommaso daniele mirko renato ilaria serena monica sonia pepe paco lola nuria ainhoa noelia victor
felipe gustavo esteban emilio marcos mateo alba candela
"""
NAMES = frozenset(_FREQUENT.split())
_SURNAMES = (
    "王李张張刘劉陈陳杨楊黄黃赵趙吴吳周徐孙孫马馬朱胡郭何高林郑鄭谢謝罗羅梁宋唐许許韩韓冯馮邓鄧曹彭曾肖田董袁潘于蒋蔡余杜叶程苏魏吕丁任沈姚卢姜崔"
    "钟谭陆汪范廖贾夏韦付方邹孟熊秦邱尹薛闫段雷侯史陶黎贺顾毛郝龚邵万钱严戴莫孔向汤"
)
_JAPANESE = (
    "佐藤|鈴木|高橋|田中|伊藤|渡辺|渡邊|山本|中村|小林|加藤|吉田|山田|佐々木|山口|松本|井上|木村|斎藤|齋藤|清水|山崎|阿部|池田|橋本|石川|山下|中島|"
    "石井|小川|前田|岡田|長谷川|藤田|後藤|近藤|村上|遠藤|青木|坂本|斉藤|福田|太田|西村|藤井|金子|岡本|藤原|中野|三浦|原田|中川|松田|竹内|小野|田村|"
    "中山|和田|石田|森田|上田|原|内田|柴田|酒井|宮崎|横山|高木|安藤|宮本|大野|小島|谷口|今井|工藤|高田|増田|丸山|杉山|村田|大塚|新井|小山|平野|"
    "藤本|河野|上野|野口|武田|松井|千葉|菅原|岩崎|木下|久保|佐野|野村|松尾|菊地|市川|杉本|古川|大西|島田|水野|桜井|渡部|高野|吉川|山内|西田|飯田"
)
_KOREAN = "김이박최정강조윤장임한오서신권황안송류유전홍고문양손배백허남심노하곽성차주우구나민진지엄"
# Texts of scripts without blanks that begin with a frequent family name
FAMILY_SIGNS = re.compile(
    rf"[{_SURNAMES}][\u4e00-\u9fff]{{1,2}}|({_JAPANESE})[\s\u3000]?[\u3040-\u9fff]{{1,4}}|"
    rf"[{_KOREAN}][가-힣]{{2}}"
)
# Family names and patronymics, without accents and in lower case
FAMILY_WORDS = re.compile(
    r"\w{3,}(mann|meie?r|meyer|maie?r|mayer|huber|hofer|ssen|sson|ovic|evic|enko|czyk|wicz|wski|"
    r"wska|nski|nska|vsky|oglu|"
    r"poulos|opoulou|idis|akis|shvili|etti|ucci|ielli|ov|ova|ev|eva|quist|kumar|singh|moto|guchi)|"
    r"(mc|mac|o')[a-z]{4,}|\w{2,}(ов|ова|ев|ева|енко|чук|вич|вна|οπουλος|οπουλου|ιδης|ακης)"
)
TITLES = re.compile(
    r"(.*,\s*)?(mr|mrs|ms|miss|mx|dr|prof|herrn?|frau|hr|fr|mme|mlle|monsieur|madame|sr|sra|don|"
    r"sig|sig\.ra|dott|sir|lady|pani?|г-н|г-жа|г-ца|السيدة?|الأستاذة?)\b\.?\s+\S"
    r"|(นาย|นาง|นางสาว|น\.ส\.|ด\.ช\.|ด\.ญ\.)",
    re.IGNORECASE,
)
